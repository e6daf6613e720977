"""Suspending, the deadline, the GPU budget, and the end."""

import dataclasses
from datetime import timedelta

import pytest

from ser_core.loop.observed import Leg
from ser_core.loop.text import write_time


def test_the_status_tells_what_the_run_stores_as_the_last_done_stage_counted_it(make_world):
    world = make_world().at("label", 1)
    counted = world.status.stored
    assert counted.records > 0
    world.end("failed")
    world.reconcile()
    assert world.status.stored == counted


def test_suspend_stops_the_live_attempt_until_it_is_gone(make_world):
    world = make_world().at("retrain")
    world.change(suspend=True)
    for _ in range(3):
        planned = world.reconcile()
        assert [type(action).__name__ for action in planned.actions] == ["StopStage"]
        assert (world.condition("Suspended").status, world.status.phase, planned.requeue_after) == ("False", "Running", 10)
    world.settle(outcome="interrupted")

    assert (world.condition("Suspended").status, world.status.phase) == ("True", "Suspended")
    assert world.plan().actions == ()


@pytest.mark.parametrize("end", [{"outcome": "interrupted"}, {"outcome": "failed", "exit_code": 137, "result": False}, None])
def test_resuming_continues_with_the_next_attempt_and_charges_nothing(make_world, end):
    world = make_world().at("retrain")
    world.change(suspend=True)
    world.reconcile()
    world.lose() if end is None else world.end(**end)
    world.reconcile()
    world.wait(3600)
    world.change(suspend=False)
    (action,) = world.reconcile().actions

    assert (action.spec.attempt, action.spec.mode) == (2, "execute")
    assert next((row.outcome, row.reason, row.charged) for row in world.rows("retrain")) == ("Interrupted", "Suspended", False)
    assert (world.status.suspended_at, world.status.suspended_seconds) == (None, 3600)
    assert "Resumed" in [event.reason for event in world.events]


def test_an_attempt_that_was_asked_to_stop_is_stopped_even_if_the_run_is_resumed(make_world):
    world = make_world().at("retrain")
    world.change(suspend=True)
    world.reconcile()
    world.change(suspend=False)
    assert [type(action).__name__ for action in world.reconcile().actions] == ["StopStage"]
    (action,) = world.settle(outcome="interrupted").actions

    assert action.spec.attempt == 2


def test_a_stage_that_ends_while_being_stopped_is_committed(make_world):
    world = make_world().at("retrain")
    world.change(suspend=True)
    world.reconcile()
    world.settle()

    assert (world.status.phase, world.rows("retrain")[0].outcome) == ("Suspended", "Done")


def test_a_user_error_while_being_stopped_fails_the_run(make_world):
    world = make_world().at("prepare")
    world.change(suspend=True)
    world.reconcile()
    world.settle(outcome="failed", exit_code=11, reason="DataError")

    assert world.status.phase == "Failed"


def test_a_run_created_suspended_starts_nothing(make_world):
    world = make_world(suspend=True, activeDeadline="1h")
    assert world.reconcile().actions == ()
    assert (world.status.phase, world.status.started_at) == ("Suspended", None)
    world.wait(7200)
    world.change(suspend=False)
    (action,) = world.reconcile().actions

    assert action.max_seconds == 3600
    assert world.status.suspended_seconds == 0


def test_the_deadline_stops_the_stage_and_fails_the_run(make_world):
    world = make_world(activeDeadline="1h").at("retrain")
    world.wait(3598)
    assert world.reconcile().actions == ()
    assert world.plan().requeue_after == 1
    world.wait(1)
    assert [action.reason for action in world.reconcile().actions] == ["DeadlineExceeded"]
    assert world.status.phase == "Running"
    world.settle(outcome="interrupted")

    assert (world.status.phase, world.condition("Failed").reason) == ("Failed", "DeadlineExceeded")
    assert world.status.message == "its stages have run for activeDeadline 1h: raise it to go on"


def test_the_deadline_leaves_suspended_time_out(make_world):
    world = make_world(activeDeadline="1h").at("prepare")
    world.wait(600)
    world.change(suspend=True)
    world.reconcile()
    world.settle(outcome="interrupted")
    world.wait(36000)
    world.reconcile()
    world.change(suspend=False)
    (action,) = world.reconcile().actions

    assert action.max_seconds == 3000


def in_the_queue(world):
    """The live attempt waits: none of its pods has run."""
    (live,) = world.live()
    world.jobs[live.job] = dataclasses.replace(live, legs=())


def test_the_deadline_leaves_the_wait_in_a_queue_out(make_world):
    world = make_world(activeDeadline="10s")
    world.reconcile()
    in_the_queue(world)
    world.wait(36000)
    assert (world.reconcile().actions, world.status.phase, world.plan().requeue_after) == ((), "Running", None)
    world.jobs = {name: dataclasses.replace(job, legs=(Leg(world.now),)) for name, job in world.jobs.items()}
    assert world.plan().requeue_after == 10
    world.wait(10)

    assert [action.reason for action in world.reconcile().actions] == ["DeadlineExceeded"]


def test_the_pause_after_a_failure_costs_no_time(make_world):
    world = make_world(activeDeadline="1m").at("prepare")
    world.wait(4)
    world.settle(outcome="failed")
    world.wait(600)
    (action,) = world.reconcile().actions

    assert (action.max_seconds, world.status.admitted_seconds) == (56, 4)


def test_what_stopped_an_attempt_stays_counted_though_its_pod_says_that_it_ended_before(make_world):
    world = make_world(activeDeadline="1m").at("prepare")
    world.wait(60)
    world.reconcile()
    (live,) = world.live()
    world.end("interrupted")
    ended = tuple(dataclasses.replace(leg, end=world.now - timedelta(seconds=5)) for leg in live.legs)
    world.jobs[live.job] = dataclasses.replace(world.jobs[live.job], legs=ended)
    world.reconcile()

    assert (world.status.phase, world.condition("Failed").reason) == ("Failed", "DeadlineExceeded")


def test_a_deadline_that_was_raised_in_time_is_the_one_that_counts(make_world):
    world = make_world(activeDeadline="1m").at("prepare")
    world.wait(59)
    world.change(activeDeadline="2m")

    assert (world.reconcile().actions, world.plan().requeue_after) == ((), 61)


def test_an_upgrade_alone_does_not_reopen_a_run_that_reached_its_deadline_before_admitted_time(make_world):
    world = make_world(activeDeadline="1m").at("prepare")
    world.wait(60)
    world.reconcile()
    world.settle(outcome="interrupted")
    world.run = world.run.model_copy(update={"status": world.status.model_copy(update={"admitted_seconds": None})})
    world.wait(3600)
    assert (world.reconcile().actions, world.status.phase) == ((), "Failed")
    world.change(activeDeadline="2m")
    (action,) = world.reconcile().actions

    assert action.max_seconds == 60


@pytest.mark.parametrize("live", [True, False])
def test_a_status_from_before_admitted_time_has_taken_what_was_counted_then(make_world, live):
    world = make_world(activeDeadline="1h").at("prepare")
    if live:
        in_the_queue(world)
    else:
        world.settle(outcome="failed", exit_code=20)
    early = world.now - timedelta(seconds=900)
    rows = tuple(row.model_copy(update={"started_at": write_time(world.now)}) for row in world.status.stages)
    old = {"started_at": write_time(early), "suspended_seconds": 300, "admitted_seconds": None, "stages": rows}
    world.run = world.run.model_copy(update={"status": world.status.model_copy(update=old)})
    world.reconcile()
    world.wait(7200)
    world.reconcile()

    assert (world.status.admitted_seconds, world.status.phase) == (600, "Running")


def test_a_run_that_is_complete_at_its_deadline_is_complete(make_world):
    world = make_world(loop={"maxIterations": 1}, activeDeadline="1h").at("retrain", 1)
    world.wait(3600)
    world.reconcile()
    world.settle()

    assert world.status.phase == "Completed"


def test_the_budget_stops_the_attempt_that_spends_it_and_then_waits_to_be_raised(make_world):
    world = make_world(budget={"gpuHours": 2}, resources={"retrain": {"gpus": 4}}).at("retrain")
    assert world.plan().requeue_after == 1800
    world.wait(1800)
    assert [action.reason for action in world.reconcile().actions] == ["BudgetExceeded"]
    world.settle(outcome="interrupted", checkpoint_step=10)
    assert (world.status.phase, world.status.gpu_hours) == ("BudgetExceeded", 2.0)
    assert (world.condition("Stalled").status, world.condition("Failed").status) == ("True", "False")
    assert world.plan().actions == ()

    world.change(budget={"gpuHours": 3})
    (action,) = world.reconcile().actions
    assert (action.spec.attempt, action.max_seconds) == (2, 900)
    assert world.plan().requeue_after == 900
    assert world.rows("retrain")[0].charged is False
    assert world.drive().status.phase == "Completed"


@pytest.mark.parametrize(("deadline", "seconds"), [("10m", 90), ("1m", 59)])  # prepare took a second
def test_a_stage_may_run_for_what_the_nearer_of_deadline_and_budget_leaves(make_world, deadline, seconds):
    world = make_world(budget={"gpuHours": 0.1}, activeDeadline=deadline, resources={"retrain": {"gpus": 4}}).at("retrain")

    assert next(iter(reversed(world.specs.values()))).max_seconds == seconds
    assert world.plan().requeue_after == seconds


def test_stages_without_gpus_cost_no_budget(make_world):
    world = make_world(budget={"gpuHours": 0.001}, resources={"retrain": {"gpus": 0}}).at("retrain")
    assert next(iter(reversed(world.specs.values()))).max_seconds is None
    world.wait(36000)

    assert world.reconcile().actions == ()


def test_resources_that_change_do_not_change_what_a_running_attempt_costs(make_world):
    world = make_world(resources={"retrain": {"gpus": 1}}).at("retrain")
    world.change(resources={"retrain": {"gpus": 8}})
    world.wait(3600)
    world.settle()

    assert world.status.gpu_hours == 1.0


def test_the_wait_for_a_budget_costs_no_time(make_world):
    world = make_world(budget={"gpuHours": 1}, activeDeadline="2h", resources={"retrain": {"gpus": 1}}).at("retrain")
    world.wait(3600)
    world.reconcile()
    planned = world.settle(outcome="interrupted")
    assert (world.status.phase, planned.requeue_after) == ("BudgetExceeded", None)
    world.wait(36000)
    world.change(budget={"gpuHours": 9})
    (action,) = world.reconcile().actions

    assert action.max_seconds == 3599


@pytest.mark.parametrize("phase", ["Completed", "Failed"])
def test_an_ended_run_stays_as_it_is(make_world, phase):
    world = make_world(loop={"maxIterations": 1})
    if phase == "Completed":
        world.drive()
    else:
        world.at("prepare").settle(outcome="failed", exit_code=10)
    ended = world.status
    world.change(suspend=True, activeDeadline="1s", training={"tokensPerBatch": 64})
    world.jobs.clear()
    world.wait(1000)
    planned = world.reconcile()

    assert (planned.actions, planned.events, planned.requeue_after) == ((), (), None)
    assert world.status.observed_generation == world.run.metadata.generation
    same = {"observed_generation", "conditions"}
    assert world.status.model_dump(exclude=same) == ended.model_dump(exclude=same)


def stray(world, job):
    return dataclasses.replace(job, job="ser-stray", state="running", result=None, exit_code=None)


def test_nothing_starts_beside_a_process_that_the_status_does_not_know(make_world):
    world = make_world().at("prepare")
    world.end()
    world.jobs["stray"] = stray(world, next(iter(world.jobs.values())))
    planned = world.reconcile()
    assert [(action.job, action.reason) for action in planned.actions] == [("ser-stray", "NotTheLiveAttempt")]
    assert (world.status.phase, planned.requeue_after) == ("Running", 10)
    assert world.reconcile().events == ()
    del world.jobs["stray"]
    (action,) = world.reconcile().actions

    assert action.spec.stage == "retrain"


def test_a_second_process_beside_the_live_attempt_is_stopped(make_world):
    world = make_world().at("retrain")
    world.jobs["stray"] = stray(world, world.live()[0])
    planned = world.reconcile()

    assert [action.job for action in planned.actions] == ["ser-stray"]
    assert world.rows("retrain")[0].outcome == "Running"


def test_an_ended_run_stops_what_still_runs(make_world):
    world = make_world(loop={"maxIterations": 1}).drive()
    world.jobs["stray"] = stray(world, next(iter(world.jobs.values())))

    assert [action.job for action in world.plan().actions] == ["ser-stray"]


def test_a_lost_attempt_that_comes_back_is_stopped(make_world):
    world = make_world().at("retrain")
    (live,) = world.live()
    world.lose()
    world.reconcile()
    world.end("absent")
    world.jobs[live.job] = live
    planned = world.reconcile()
    assert [(action.job, action.reason) for action in planned.actions] == [(live.job, "NotTheLiveAttempt")]
    world.end("done", job=live)
    (action,) = world.reconcile().actions

    assert (action.spec.stage, action.spec.attempt) == ("retrain", 3)
