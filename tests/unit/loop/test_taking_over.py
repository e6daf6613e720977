"""`spec.from` in the planner: GPUs are not taken before a small process has looked, and what came of it is told."""

import dataclasses

import pytest

from ser_core.api.stage import NOT_TAKEN_OVER, TAKEN_OVER

FROM = {"from": {"run": "hh-0"}}
GPUS = {"retrain": {"gpus": 8}}


def told(world, reason, message):
    """End the live attempt as a stage that has looked at the leader."""
    job = world.live()[0]
    world.end(job=dataclasses.replace(job, mode="execute"))
    ended = world.jobs[job.job]
    result = ended.result.model_copy(update={"reason": reason, "message": message})
    world.jobs[job.job] = dataclasses.replace(ended, mode=job.mode, result=result)
    return world.reconcile()


def test_a_stage_on_gpus_looks_first_and_takes_none_for_that(make_world):
    world = make_world(resources=GPUS, **FROM).at("retrain")
    (row,) = world.rows("retrain")
    assert (row.attempt, row.mode, row.gpus) == (1, "report", 0)


@pytest.mark.parametrize("spec", [{"resources": GPUS}, FROM, {**FROM, "resources": {"label": {"gpus": 8}}}])
def test_without_a_leader_or_without_gpus_nobody_looks_first(make_world, spec):
    world = make_world(**spec).at("retrain")
    assert [row.mode for row in world.rows("retrain")] == ["execute"]


def test_several_pods_wait_until_one_has_looked(make_world):
    assert make_world(resources={"label": {"nodes": 2}}, **FROM).at("label", 1).rows("label")[0].mode == "report"


def test_what_is_taken_over_is_done_and_told(make_world):
    world = make_world(resources=GPUS, **FROM).at("retrain")
    planned = told(world, TAKEN_OVER, "taken over from hh-0 (uid-1)")
    (row,) = world.rows("retrain")
    assert (row.outcome, row.reason, row.gpu_hours) == ("Done", "TakenOver", 0)
    assert row.message.startswith("taken over from hh-0 (uid-1); dev accuracy")
    assert (planned.events[0].type, planned.events[0].reason) == ("Normal", "TakenOver")
    assert world.live()[0].stage == "label"


def test_what_is_absent_is_computed_at_once_and_not_charged(make_world):
    world = make_world(resources=GPUS, **FROM).at("retrain")
    planned = world.settle(outcome="absent", message="not taken over from hh-0 (uid-1): training.epochs is 3, there 2")
    looked, computes = world.rows("retrain")
    assert (looked.reason, looked.charged) == ("NothingToReport", False)
    assert looked.message == "not taken over from hh-0 (uid-1): training.epochs is 3, there 2"
    assert (computes.attempt, computes.mode, computes.gpus) == (2, "execute", 8)
    assert {event.type for event in planned.events} == {"Normal"}


def test_what_was_computed_all_the_same_says_why(make_world):
    world = make_world(**FROM).at("retrain")
    planned = told(world, NOT_TAKEN_OVER, "not taken over from hh-0 (uid-1): it has not committed this stage")
    (row,) = world.rows("retrain")
    assert (row.outcome, row.reason) == ("Done", "NotTakenOver")
    assert planned.events[0].message.startswith("retrain of the seed model, attempt 1: not taken over from hh-0 (uid-1)")


def test_the_end_of_a_run_says_what_it_rests_on_and_not_what_was_not_taken_over(make_world):
    world = make_world(loop={"maxIterations": 1}, **FROM).at("retrain", 1)
    told(world, NOT_TAKEN_OVER, "not taken over from hh-0 (uid-1): training.epochs is 3, there 2")
    assert "not taken over" in world.rows("retrain")[-1].message
    message = world.drive().status.message
    assert ("maxIterations 1 reached (dev accuracy" in message, "taken over" in message) == (True, False)


def test_a_look_that_cannot_reach_the_store_is_repeated_as_a_look(make_world):
    world = make_world(resources=GPUS, **FROM).at("retrain")
    world.settle(outcome="failed", exit_code=20)
    world.wait(600)
    world.reconcile()
    assert [row.mode for row in world.rows("retrain")] == ["report", "report"]


def test_a_run_with_a_leader_ends_as_any_other(make_world):
    world = make_world(resources={**GPUS, "label": {"gpus": 1}}, **FROM).drive()
    assert world.status.phase == "Completed"
    assert world.rerun == []
