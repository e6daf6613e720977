"""What cannot wait when something changes, and what can."""

import pytest

from ser_operator.facts.haste import Haste, haste

ENDED = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
ENDING = {"status": {"conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]}}


def run(generation, observed):
    return {"metadata": {"generation": generation}, "status": {} if observed is None else {"observedGeneration": observed}}


@pytest.mark.parametrize(
    ("kind", "thing", "gone", "wanted"),
    [
        ("Job", ENDED, False, Haste.FIRST),
        ("Job", {}, True, Haste.FIRST),
        ("Job", ENDED, True, Haste.SOON),
        ("Job", ENDING, False, Haste.SOON),
        ("Pod", {"status": {"phase": "Succeeded"}}, True, Haste.SOON),
        ("SERRun", run(1, None), False, Haste.NOW),
        ("SERRun", run(3, 2), False, Haste.NOW),
        ("SERRun", run(3, 3), False, Haste.SOON),
        ("SERRun", {"metadata": {"generation": 1}, "status": "garbled"}, False, Haste.NOW),
    ],
)
def test_only_the_end_of_a_job_and_an_unread_spec_are_looked_at_without_a_pause(kind, thing, gone, wanted):
    assert haste(kind, thing, gone=gone) is wanted
