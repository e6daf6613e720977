"""Conditions are what tools wait for."""

import pytest

from ser_core.api.status import Phase
from ser_core.loop.recording.conditions import TYPES, conditions

TABLE = {
    #                   Ready Reconciling Stalled Completed Failed Suspended
    Phase.PENDING: (False, True, False, False, False, False),
    Phase.RUNNING: (False, True, False, False, False, False),
    Phase.QUEUED: (False, True, False, False, False, False),
    Phase.WAITING: (False, True, False, False, False, False),
    Phase.SUSPENDED: (False, False, False, False, False, True),
    Phase.BUDGET_EXCEEDED: (False, False, True, False, False, False),
    Phase.COMPLETED: (True, False, False, True, False, False),
    Phase.FAILED: (False, False, True, False, True, False),
}


@pytest.mark.parametrize("phase", Phase)
def test_each_phase_has_its_six_conditions(phase):
    made = conditions((), phase, "Because", "of this", 3, "2026-01-31T12:00:00Z")

    assert tuple(condition.type for condition in made) == TYPES
    assert tuple(condition.status == "True" for condition in made) == TABLE[phase]
    assert {condition.observed_generation for condition in made} == {3}


def test_the_transition_time_moves_only_with_the_status():
    first = conditions((), Phase.RUNNING, "Running", "one", 1, "2026-01-31T12:00:00Z")
    second = conditions(first, Phase.RUNNING, "Running", "two", 2, "2026-01-31T13:00:00Z")
    third = conditions(second, Phase.COMPLETED, "Completed", "", 2, "2026-01-31T14:00:00Z")

    assert {condition.last_transition_time for condition in second} == {"2026-01-31T12:00:00Z"}
    moved = {condition.type for condition in third if condition.last_transition_time == "2026-01-31T14:00:00Z"}
    assert moved == {"Ready", "Reconciling", "Completed"}


def test_a_run_that_goes_well_is_reconciling_and_then_ready(make_world):
    world = make_world(loop={"maxIterations": 1}).at("retrain", 1)
    assert (world.condition("Reconciling").status, world.condition("Ready").message) == ("True", "retrain of loop 1, attempt 1")
    world.drive()

    assert (world.condition("Reconciling").status, world.condition("Ready").status) == ("False", "True")


def test_events_tell_the_story_once(make_world):
    world = make_world(loop={"maxIterations": 1, "controls": ["full"]})
    world.drive()
    told = [event.reason for event in world.events]

    assert told == ["StageStarted", "Started", *["StageDone", "StageStarted"] * 5, "StageDone", "Completed"]
