"""The learning status follows from counts."""

import pytest

from ser_core.api.spec.loop import Rule
from ser_core.api.status import IterationStatus, LearningStatus, Monitors
from ser_core.loop.deciding.learning_status import decide, has_learnt_nothing


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
        ("calibrated", 49, 50, 100, "Status2"),
        ("calibrated", 49, 49, 100, "Neither"),
        ("calibrated", 0, 0, 64, "Neither"),
        ("calibrated", 63, 63, 63, "Stop"),
    ],
)
def test_status_follows_from_the_counts(rule, status1, status2, kept, expected):
    assert decide(Rule(rule), status1, status2, kept, min_samples=600, minimum=64) == expected


@pytest.mark.parametrize(
    ("status", "margin", "dev_accuracy", "expected"),
    [
        ("Stop", 0.0, 0.0, True),
        ("Stop", 0.0, 0.01, True),
        ("Stop", 0.0, 0.5, False),
        ("Stop", 0.001, 0.0, False),
        ("Stop", None, 0.0, False),
        ("Status2", 0.0, 0.0, False),
    ],
)
def test_a_model_that_has_learnt_nothing_is_known_by_its_scores(status, margin, dev_accuracy, expected):
    seed = IterationStatus(iteration=0, learning_status=LearningStatus.SEED, dev_accuracy=dev_accuracy)
    monitors = None if margin is None else Monitors(margin=margin)
    last = IterationStatus(iteration=1, learning_status=LearningStatus(status), monitors=monitors)
    assert has_learnt_nothing((seed, last)) == expected
    assert not has_learnt_nothing(())
