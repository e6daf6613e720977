"""What the executor adds to the planner's view: what an attempt waits for, how far it is, and what may not be started."""

import dataclasses

import pytest

from ser_core.api.status import Phase
from ser_core.loop.deciding.attempts import without_pauses
from ser_core.loop.observed import Progress, Waiting


def plan_with(world, **seen):
    observed = world.observed
    world.observed = lambda: dataclasses.replace(observed(), **seen)
    return world.reconcile()


def test_a_waiting_attempt_says_what_it_waits_for(make_world):
    world = make_world()
    world.reconcile()

    plan_with(world, waiting=Waiting("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu"))

    assert world.status.message == "prepare, attempt 1 waits: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu"
    assert (world.condition("Reconciling").status, world.condition("Stalled").status) == ("True", "False")
    assert world.condition("Ready").reason == "Unschedulable"
    assert world.status.phase is Phase.WAITING


def test_an_attempt_whose_container_is_made_runs_and_says_what_is_done_for_it(make_world):
    world = make_world()
    world.reconcile()

    plan_with(world, waiting=Waiting("ContainerCreating", 'Pulling image "x"', starting=True))

    assert world.status.message == 'prepare, attempt 1, has not started yet: Pulling image "x"'
    assert (world.status.phase, world.status.waiting_since) == (Phase.RUNNING, None)


@pytest.mark.parametrize("reason", ["Queued", "NoQueue", "QueueUnusable", "PodsReadyTimeout", "WorkloadDeactivated"])
def test_what_a_queue_holds_is_queued(make_world, reason):
    world = make_world()
    world.reconcile()

    plan_with(world, waiting=Waiting(reason, "its queue has not admitted it"))

    assert (world.status.phase, world.status.waiting_since) == (Phase.QUEUED, "2026-01-31T12:00:00Z")


def test_after_an_hour_of_waiting_the_run_is_stalled_and_then_goes_on_by_itself(make_world):
    world = make_world()
    world.reconcile()
    observed = world.observed
    planned = plan_with(world, waiting=Waiting("Unschedulable", "no node"))
    assert planned.requeue_after == 3600
    world.wait(3599)
    assert world.reconcile().requeue_after == 1
    assert world.condition("Stalled").status == "False"
    world.wait(1)
    world.reconcile()
    assert (world.condition("Stalled").status, world.condition("Stalled").reason) == ("True", "Unschedulable")

    world.observed = observed
    world.reconcile()
    assert (world.status.phase, world.status.waiting_since, world.condition("Stalled").status) == (Phase.RUNNING, None, "False")
    assert world.drive().status.phase is Phase.COMPLETED


def test_a_wait_is_told_once(make_world):
    world = make_world()
    world.reconcile()
    first = plan_with(world, waiting=Waiting("Queued", "its queue has not admitted it"))
    second = plan_with(world, waiting=Waiting("Unschedulable", "no node"))

    assert [event.reason for event in first.events + second.events] == ["Queued"]


@pytest.mark.parametrize(
    ("waiting", "kind"),
    [
        (Waiting("Queued", "its queue has not admitted it"), "Normal"),
        (Waiting("QueueUnusable", "LocalQueue gpu doesn't exist", stalled=True), "Warning"),
        (Waiting("Unschedulable", "no node"), "Warning"),
        (Waiting("NodeUnreachable", "a node does not answer", stalled=True), "Warning"),
    ],
)
def test_what_is_not_ones_turn_in_a_queue_is_warned_of(make_world, waiting, kind):
    world = make_world()
    world.reconcile()

    assert [(event.type, event.reason) for event in plan_with(world, waiting=waiting).events] == [(kind, waiting.reason)]


def test_an_attempt_that_will_not_go_on_by_itself_stalls_the_run(make_world):
    world = make_world()
    world.reconcile()

    plan_with(world, waiting=Waiting("NodeUnreachable", "node n1 does not answer: delete its pod by force", stalled=True))

    assert (world.condition("Reconciling").status, world.condition("Stalled").status) == ("False", "True")
    assert world.status.phase is Phase.WAITING


def test_a_stage_that_cannot_be_started_yet_is_started_as_soon_as_it_can(make_world):
    world = make_world()
    observed = world.observed

    planned = plan_with(world, blocked=Waiting("JobRefused", "exceeded quota"))
    assert planned.actions == ()
    assert world.status.message == "prepare cannot start: exceeded quota"

    world.observed = observed
    assert len(world.reconcile().actions) == 1


def test_a_run_that_may_not_be_started_fails_by_name(make_world):
    world = make_world()

    planned = plan_with(world, refusal="storage.credentialsSecret 'root' is not allowed here")

    assert planned.actions == ()
    assert (world.status.phase, world.condition("Failed").reason) == (Phase.FAILED, "NotAllowed")


@pytest.mark.parametrize(("step", "seconds", "shown"), [(14, 300, 10), (15, 59, 10), (15, 60, 15), (5, 60, 5)])
def test_progress_moves_by_five_points_and_a_minute(make_world, step, seconds, shown):
    world = make_world()
    world.reconcile()
    plan_with(world, progress=Progress(10, 100, "pairs"))
    world.wait(seconds)

    plan_with(world, progress=Progress(step, 100, "pairs"))

    assert world.status.progress.percent == shown


@pytest.mark.parametrize("lie", [Progress(5, 0, "pairs"), Progress(-1, 10, "pairs"), Progress(11, 10, "pairs")])
def test_impossible_progress_is_not_shown(make_world, lie):
    world = make_world()
    world.reconcile()

    plan_with(world, progress=lie)

    assert world.status.progress is None


def test_the_progress_of_an_ended_attempt_is_not_that_of_the_next(make_world):
    world = make_world()
    world.reconcile()
    world.wait(5)
    world.end()

    planned = plan_with(world, progress=Progress(100, 100, "pairs"))

    assert len(planned.actions) == 1
    assert world.status.progress is None


def test_progress_of_an_earlier_stage_is_dropped(make_world):
    world = make_world()
    world.reconcile()
    plan_with(world, progress=Progress(10, 100, "pairs"))
    world.wait(5)
    world.end()

    plan_with(world, progress=None)

    assert world.status.progress is None


def test_a_run_that_a_person_has_started_again_does_not_sit_a_pause_out(make_world):
    world = make_world().at("retrain")
    for _ in range(4):
        world.settle(outcome="failed", exit_code=20, reason="StoreUnavailable")
        world.wait(600)
        world.reconcile()
    world.settle(outcome="failed", exit_code=20, reason="StoreUnavailable")
    world.reconcile()
    assert (world.status.phase, world.live()) == ("Waiting", [])

    world.run = world.run.model_copy(update={"status": without_pauses(world.status)})
    world.reconcile()

    assert [row.attempt for row in world.live()] == [6]
