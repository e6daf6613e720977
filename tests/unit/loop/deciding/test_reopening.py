"""A run that has ended goes on: what was committed is kept, and what failed before counts no more."""

import pytest

from ser_core.api.status import AttemptResources
from ser_core.loop.recording.coherence import coherent

GPU = {"retrain": {"gpus": 1, "memory": "8Gi"}}


def failed(world, code=11, stage="retrain", **end):
    """Let a stage fail for good."""
    world.at(stage)
    while world.status.phase == "Running":
        if world.live():
            world.end("failed", exit_code=code, **end)
        world.reconcile()
        world.wait(60)
    assert world.status.phase == "Failed"
    return world


def tokens(world):
    return [action.spec.spec.training.tokens_per_batch for action in world.specs.values() if action.spec.stage == "retrain"]


@pytest.mark.parametrize("code", [10, 11, 12, 1, 22, 21, 137])
def test_a_raised_reopen_leaves_every_failure(make_world, code):
    world = failed(make_world(), code)
    rows = world.rows("retrain")
    committed = world.committed()
    world.change(reopen=1)
    (action,) = world.reconcile().actions

    assert (action.spec.stage, action.spec.attempt, action.spec.mode) == ("retrain", len(rows) + 1, "execute")
    assert (world.status.phase, world.status.finished_at, world.status.reopened) == ("Running", None, 1)
    assert [row.forgiven for row in world.rows("retrain")] == [True] * len(rows) + [False]
    assert world.events[-1].reason == "Reopened"
    assert coherent(world.run, world.status)
    assert world.drive().status.phase == "Completed"
    assert world.committed()[: len(committed)] == committed
    assert world.rerun == []


def test_each_rise_reopens_once(make_world):
    world = failed(make_world())
    world.change(reopen=3)
    world.reconcile()
    failed(world)
    assert world.reconcile().actions == ()
    world.change(reopen=4)

    assert world.reconcile().actions != ()


def test_after_reopening_the_stage_has_all_its_attempts_again(make_world):
    world = failed(make_world(), 22)
    world.change(reopen=1)
    world.reconcile()
    failed(world, 22)

    assert [row.forgiven for row in world.rows("retrain")] == [True] * 3 + [False] * 3


@pytest.mark.parametrize("phase", ["Running", "Completed"])
def test_a_rise_before_the_failure_is_not_kept_for_it(make_world, phase):
    world = make_world().at("retrain") if phase == "Running" else make_world().drive()
    world.change(reopen=2)
    world.reconcile()
    assert (world.status.phase, world.status.reopened) == (phase, 2)
    if phase == "Running":
        failed(world)
        assert world.reconcile().actions == ()


def test_a_plan_that_reopens_is_made_again_when_it_was_not_recorded(make_world):
    world = failed(make_world())
    world.change(reopen=1)
    for action in world.plan().actions:
        world.act(action)
    world.wait(3)
    planned = world.reconcile()

    assert planned.actions == ()
    assert [row.outcome for row in world.rows("retrain")] == ["Failed", "Running"]
    assert world.plan().status == world.status


def test_a_reopened_run_may_wait_for_the_user(make_world):
    world = failed(make_world())
    world.change(reopen=1, suspend=True)
    assert world.reconcile().actions == ()
    assert world.status.phase == "Suspended"
    world.change(suspend=False)

    assert world.drive().status.phase == "Completed"


def test_the_time_in_which_the_run_had_failed_is_not_counted(make_world):
    world = failed(make_world(activeDeadline="1h"))
    ran = world.now
    world.wait(100_000)
    world.change(reopen=1)
    (action,) = world.reconcile().actions

    assert action.max_seconds > 3300
    assert world.status.suspended_seconds >= 100_000
    assert ran < world.now


MORE = [
    {"resources": {"retrain": {"gpus": 1, "memory": "9Gi"}}},
    {"resources": {"retrain": {"gpus": 1}}},
    {"resources": {"retrain": {"gpus": 2, "memory": "8Gi"}}},
    {"resources": {"retrain": {"gpus": 1, "memory": "8Gi", "nodes": 2}}},
    {"training": {"tokensPerBatch": 4000}},
]
NO_MORE = [
    {"resources": {"retrain": {"gpus": 1, "memory": "7Gi"}}},
    {"resources": {"retrain": {"gpus": 1, "memory": "8589934592"}}},
    {"resources": {"retrain": {"gpus": 1, "memory": "8Gi", "cpu": "64"}}},
    {"resources": {"retrain": {"gpus": 1, "memory": "8Gi"}, "label": {"memory": "1Ti"}}},
    {"training": {"tokensPerBatch": 4096}},
    {"activeDeadline": "100h", "budget": {"gpuHours": 1000}},
]


@pytest.mark.parametrize("change", MORE)
def test_more_memory_or_less_that_needs_it_leaves_a_failure_for_memory(make_world, change):
    world = failed(make_world(resources=GPU), 21)
    assert "raise resources.retrain.memory or gpus, or lower training.tokensPerBatch below 4096" in world.status.message
    world.change(**change)
    (action,) = world.reconcile().actions

    assert action.spec.attempt == 3
    assert tokens(world) == [8192, 4096, change.get("training", {}).get("tokensPerBatch", 8192)]
    assert world.drive().status.phase == "Completed"


@pytest.mark.parametrize("change", NO_MORE)
def test_what_helps_no_memory_leaves_no_failure_for_memory(make_world, change):
    world = failed(make_world(resources=GPU), 21)
    world.change(**change)

    assert world.reconcile().actions == ()
    assert world.status.phase == "Failed"


@pytest.mark.parametrize(("reason", "goes_on"), [("DoesNotFit", True), ("OutOfMemory", False)])
def test_main_memory_that_is_named_leaves_the_failure_of_a_plan(make_world, reason, goes_on):
    world = failed(make_world(resources={"retrain": {"gpus": 1}}), 21, reason=reason)
    world.change(resources={"retrain": {"gpus": 1, "memory": "80Gi"}})

    assert bool(world.reconcile().actions) == goes_on


def test_more_memory_leaves_no_other_failure(make_world):
    world = failed(make_world(resources=GPU), 11)
    world.change(resources={"retrain": {"gpus": 4, "memory": "80Gi"}})

    assert world.reconcile().actions == ()


def test_a_process_that_was_killed_mostly_lacked_memory(make_world):
    world = failed(make_world(), 137, result=False)
    world.change(training={"tokensPerBatch": 512})

    assert len(world.reconcile().actions) == 1


@pytest.mark.parametrize("reason", ["UnevenShares", "WorldSizeChanged"])
def test_another_number_of_processes_leaves_a_failure_for_it(make_world, reason):
    world = failed(make_world(resources={"retrain": {"gpus": 3}}), 10, reason=reason)
    world.change(resources={"retrain": {"gpus": 3, "memory": "80Gi"}})
    assert world.reconcile().actions == ()
    world.change(resources={"retrain": {"gpus": 2}})

    assert len(world.reconcile().actions) == 1


def test_an_upgrade_alone_reopens_nothing_and_what_is_raised_later_does(make_world):
    world = failed(make_world(resources=GPU), 21)
    old = tuple(row.model_copy(update={"resources": None}) for row in world.status.stages)
    world.run = world.run.model_copy(update={"status": world.status.model_copy(update={"stages": old})})
    assert world.reconcile().actions == ()
    assert world.status.phase == "Failed"
    assert world.status.stages[-1].resources == AttemptResources(gpus=1, memory="8Gi", tokens_per_batch=4096)
    world.change(resources={"retrain": {"gpus": 1, "memory": "16Gi"}})

    assert len(world.reconcile().actions) == 1


def test_a_raised_deadline_leaves_the_failure_of_the_old_one(make_world):
    world = make_world(activeDeadline="1h").at("retrain")
    world.wait(3600)
    world.reconcile()
    world.settle(outcome="interrupted", checkpoint_step=4)
    assert world.status.phase == "Failed"
    world.wait(50_000)
    world.change(reopen=1)
    assert world.reconcile().actions == ()
    assert world.status.phase == "Failed"
    world.change(activeDeadline="61m")
    (action,) = world.reconcile().actions

    assert (action.spec.stage, action.spec.attempt) == ("retrain", 2)
    assert 55 <= action.max_seconds <= 60
    assert world.drive().status.phase == "Completed"


def test_a_deadline_that_is_removed_leaves_its_failure(make_world):
    world = make_world(activeDeadline="1h").at("retrain")
    world.wait(3600)
    world.reconcile()
    world.settle(outcome="interrupted")
    world.change(activeDeadline=None)

    assert len(world.reconcile().actions) == 1


def test_a_lowered_number_of_tokens_reaches_the_next_stage_and_leaves_what_is_committed(make_world):
    world = make_world().at("retrain")
    world.change(training={"tokensPerBatch": 512})
    world.settle()
    world.drive()

    assert tokens(world)[:2] == [8192, 512]
    assert world.rerun == []


@pytest.mark.parametrize("rule", ["calibrated", "paper", "reference"])
@pytest.mark.parametrize("controls", [[], ["full", "pseudoLabelOnce", "seedOnly"]])
@pytest.mark.parametrize("rollback", ["best", "none"])
def test_a_completed_run_goes_on_when_its_loops_may_be_more(make_world, make_results, rule, controls, rollback):
    loop = {"maxIterations": 2, "rule": rule, "controls": controls, "stopping": {"rollback": rollback, "patience": 3}}
    world = make_world(make_results(dev=(0.6, 0.7, 0.8, 0.9, 0.95)), loop=loop).drive()
    ended, controlled = world.committed(), world.status.controls
    world.change(max_iterations=4)
    (action,) = world.reconcile().actions
    assert (action.spec.stage, action.spec.iteration, world.events[-1].reason) == ("label", 3, "Reopened")
    world.drive()

    assert (world.status.phase, world.status.iterations[-1].iteration) == ("Completed", 4)
    assert world.committed()[: len(ended)] == ended
    assert world.status.controls == controlled
    assert world.rerun == []


def test_a_run_of_an_earlier_version_that_forgot_an_input_of_another_loop_looks_for_it(make_world):
    world = make_world(loop={"maxIterations": 2, "rule": "reference", "controls": ["full"]}).drive()
    kept = tuple(row for row in world.status.stages if row.stage != "filter")
    world.run = world.run.model_copy(update={"status": world.status.model_copy(update={"stages": kept})})
    ended = world.committed()
    world.change(max_iterations=3)
    world.drive()

    assert (world.status.phase, world.status.iterations[-1].iteration) == ("Completed", 3)
    assert world.committed()[: len(ended)] == ended


def test_a_run_whose_loops_had_ended_by_themselves_stays_completed_and_says_why(make_world, make_results):
    world = make_world(make_results(dev=(0.8, 0.7)), loop={"maxIterations": 4}).drive()
    told = world.status.message
    world.change(max_iterations=6)
    for _ in range(2):
        assert world.reconcile().actions == ()
        assert world.status.message.startswith(f"{told}; a larger maxIterations adds no loop, since loop 1 gained nothing on dev")
    assert world.condition("Completed").message == world.status.message
    world.change(max_iterations=7)
    world.reconcile()

    assert world.status.message.count("a larger maxIterations") == 1


def test_a_run_with_a_policy_stays_completed(make_world):
    world = make_world(loop={"maxIterations": 1}, policy={"base": "hf://org/policy"}).drive()
    world.change(max_iterations=3)

    assert world.reconcile().actions == ()


def test_a_completed_run_goes_on_by_a_change_of_its_spec_alone(make_world):
    world = make_world(loop={"maxIterations": 1}).drive()
    world.change(max_iterations=3)
    seen = world.status.model_copy(update={"observed_generation": world.run.metadata.generation})
    world.run = world.run.model_copy(update={"status": seen})

    assert world.reconcile().actions == ()


@pytest.mark.parametrize("garbage", [{"finished_at": "soon"}, {"started_at": "x"}, {"stages": ()}, {"finished_at": None}])
def test_a_failed_status_that_somebody_garbled_stays_failed_until_the_run_is_reopened(make_world, garbage):
    world = failed(make_world(activeDeadline="100h"))
    stored = world.committed()
    world.run = world.run.model_copy(update={"status": world.status.model_copy(update=garbage)})
    assert world.reconcile().actions == ()
    assert world.status.phase == "Failed"
    for rise in (1, 2):  # the Job that failed is still there and is taken in once more
        world.change(reopen=rise)
        world.drive()

    assert world.status.phase == "Completed"
    assert world.committed()[: len(stored)] == stored
