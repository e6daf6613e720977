"""The learning status follows from counts."""

import pytest

from ser_core.api.spec.loop import Rule
from ser_core.loop.deciding.learning_status import decide


@pytest.mark.parametrize(
    ("rule", "status1", "status2", "kept", "expected"),
    [
        ("paper", 600, 0, 0, "Status1"),
        ("paper", 599, 600, 0, "Status2"),
        ("paper", 599, 599, 1198, "Stop"),
        ("reference", 1, 0, 1, "Status1"),
        ("reference", 0, 5, 5, "Status2"),
        ("reference", 0, 0, 0, "Stop"),
        ("calibrated", 50, 0, 100, "Status1"),
        ("calibrated", 49, 0, 100, "Status2"),
        ("calibrated", 0, 0, 64, "Status2"),
        ("calibrated", 63, 63, 63, "Stop"),
    ],
)
def test_status_follows_from_the_counts(rule, status1, status2, kept, expected):
    assert decide(Rule(rule), status1, status2, kept, min_samples=600, minimum=64) == expected
