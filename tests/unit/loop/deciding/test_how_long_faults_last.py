"""The table of docs/operations.md that says how long a fault may last without ending a run, row by row against the planner."""

import dataclasses
from datetime import timedelta

import pytest
from documents import ROOT

from ser_core.loop.deciding.faults import TABLE, Fault
from ser_core.loop.observed import Waiting

HEADING = "### How long each fault may last"
OTHERS = "all others"
FOR_EVER = "for ever"
LIVE = {reason for row in TABLE if row.waits for reason in row.reasons}
ASKED_FOR = {reason for row in TABLE if row.fault is Fault.LIMITS for reason in row.reasons}
INPUTS = {reason for row in TABLE if row.fault is Fault.INPUTS for reason in row.reasons}
OF_THE_SPEC = {"InvalidSpec"}
"""No attempt ends with these: the run waits or has failed, and goes on as soon as its spec can be read (`test_reopening`)."""
TIMES = 20


def bounds():
    """How long a run bears each reason that the document names."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split(HEADING)[1].split("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][2:]
    named = [(reason.strip("` "), bound) for _, reasons, bound in rows if not reasons.startswith(OTHERS) for reason in reasons.split(", ")]
    (others,) = [bound for _, reasons, bound in rows if reasons.startswith(OTHERS)]
    return [*named, *((reason, others) for reason in sorted(INPUTS))]


def test_the_document_names_every_reason_once():
    assert sorted(reason for reason, _ in bounds()) == sorted(reason for row in TABLE for reason in row.reasons)


@pytest.mark.parametrize(("reason", "bound"), [one for one in bounds() if one[0] not in LIVE | ASKED_FOR | OF_THE_SPEC])
def test_a_run_bears_the_end_of_an_attempt_for_as_long_as_the_document_says(make_world, reason, bound):
    world = make_world().at("retrain")
    attempts = 0
    while world.status.phase != "Failed" and attempts < TIMES:
        attempts += 1
        world.settle(outcome="failed", exit_code=1, reason=reason, node="gpu-1")
        world.wait(600)
        world.reconcile()

    assert attempts == (TIMES if bound == FOR_EVER else int(bound.split()[0]))
    assert world.status.phase == ("Running" if bound == FOR_EVER else "Failed")


@pytest.mark.parametrize("reason", sorted(LIVE))
def test_a_run_bears_what_a_live_attempt_waits_for_as_long_as_the_document_says(make_world, reason):
    world = make_world().at("retrain")
    observed = world.observed
    world.observed = lambda: dataclasses.replace(observed(), waiting=Waiting(reason, "for the test"))
    for _ in range(TIMES):
        world.wait(timedelta(days=30).total_seconds())
        world.reconcile()
    world.observed = observed

    assert dict(bounds())[reason] == FOR_EVER
    assert world.drive().status.phase == "Completed"


def test_of_what_the_user_asks_for_the_deadline_alone_ends_a_run(make_world):
    assert {reason: bound for reason, bound in bounds() if reason in ASKED_FOR and bound != FOR_EVER} == {"DeadlineExceeded": "0 attempts"}
    world = make_world(activeDeadline="1h").at("retrain")
    world.wait(3600)
    world.reconcile()
    world.settle(outcome="interrupted")

    assert (world.status.phase, world.condition("Failed").reason) == ("Failed", "DeadlineExceeded")


@pytest.mark.parametrize("reason", sorted(ASKED_FOR - {"DeadlineExceeded"}))
def test_an_attempt_that_the_user_stopped_can_be_stopped_as_often_as_one_likes(make_world, reason):
    world = make_world().at("retrain")
    for _ in range(TIMES):
        world.settle(outcome="failed", exit_code=1, reason=reason)
        world.reconcile()

    assert world.drive().status.phase == "Completed"
