"""The policy: after the loops, before the controls, with the best reward model."""

import pytest

from ser_core.api.status import SERRunStatus
from ser_core.loop.recording.coherence import coherent

BASE = {"base": "hf://org/policy"}
WITH_SFT = {**BASE, "sft": {"epochs": 2}}
ONE_LOOP = {"maxIterations": 1, "controls": ["full"]}
PREPARED = ("prepare", 0)


def after_the_loops(world):
    return [stage for stage, *_ in world.started() if stage not in ("prepare", "retrain", "label", "filter")]


def inputs(world, stage):
    spec = next(action.spec for action in world.specs.values() if action.spec.stage == stage)
    return {role.value: (source.stage.value, source.iteration) for role, source in spec.inputs.items()}


@pytest.mark.parametrize(("policy", "stages"), [(None, []), (BASE, ["ppo"]), (WITH_SFT, ["sft", "ppo"])])
def test_the_policy_follows_the_loops_and_precedes_the_controls(make_world, policy, stages):
    world = make_world(loop=ONE_LOOP, policy=policy).drive()

    assert after_the_loops(world) == [*stages, "control-full"]
    assert world.status.phase == "Completed"


@pytest.mark.parametrize("stop_at", [None, 1])
def test_a_policy_without_fine_tuning_starts_from_its_base(make_world, make_results, stop_at):
    world = make_world(make_results(stop_at=stop_at), loop={"maxIterations": 1}, policy=BASE).drive()

    best = {"prepared": PREPARED, "best": ("retrain", 1), "witness": ("retrain", 0)}
    assert inputs(world, "ppo") == (best if stop_at is None else {"prepared": PREPARED, "best": ("retrain", 0)})


def test_ppo_learns_from_the_best_reward_model_and_is_watched_by_the_seed_model(make_world, make_results):
    loop = {"maxIterations": 4, "stopping": {"patience": 3, "rollback": "none"}}
    world = make_world(make_results(dev=(0.6, 0.8, 0.9, 0.7, 0.65)), loop=loop, policy=WITH_SFT).drive()

    assert inputs(world, "sft") == {"prepared": PREPARED}
    assert inputs(world, "ppo") == {"prepared": PREPARED, "best": ("retrain", 2), "witness": ("retrain", 0), "policy": ("sft", 0)}


def test_the_status_and_the_last_message_tell_what_the_policy_reached(make_world, make_results):
    world = make_world(make_results(stopped="Length Explosion"), loop={"maxIterations": 1}, policy=BASE).drive()

    policy = world.status.policy
    assert policy.uri.endswith("iter-0000/ppo/MANIFEST.json")
    assert (policy.baseline_score, policy.score, policy.kl, policy.steps) == (-0.5, 0.666667, 4.25, 25)
    assert policy.stopped == "LengthExplosion"
    told = "policy: score on held-out prompts -0.500 to 0.667, KL 4.25 nats, after 25 PPO steps, stopped by LengthExplosion"
    assert told in world.status.message


@pytest.mark.parametrize("stage", ["sft", "ppo"])
def test_a_policy_that_has_begun_ends_the_loops_for_good(make_world, stage):
    world = make_world(loop=ONE_LOOP, policy=WITH_SFT).at(stage)
    world.change(max_iterations=3)
    world.drive()

    assert after_the_loops(world) == ["sft", "ppo", "control-full"]
    assert world.status.iterations[-1].iteration == 1


@pytest.mark.parametrize("stage", ["sft", "ppo"])
def test_a_policy_stage_out_of_memory_is_tried_again_with_half_the_budget_and_then_told_what_to_lower(make_world, stage):
    world = make_world(loop={"maxIterations": 1}, policy=WITH_SFT, resources={stage: {"gpus": 1}}).at(stage)
    for _ in range(2):
        world.settle(outcome="failed", exit_code=21)
        world.wait(60)
        world.reconcile()

    attempts = [action.spec for action in world.specs.values() if action.spec.stage == stage]
    assert [spec.spec.training.tokens_per_batch for spec in attempts] == [8192, 4096]
    assert world.status.phase == "Failed"
    assert f"raise resources.{stage}.memory" in world.status.message
    assert "lower training.tokensPerBatch below 4096" in world.status.message


def test_a_suspended_policy_goes_on_uncharged(make_world):
    world = make_world(loop={"maxIterations": 1}, policy=BASE).at("ppo")
    world.change(suspend=True)
    world.reconcile()
    world.settle(outcome="interrupted", checkpoint_step=12)
    assert world.status.phase == "Suspended"
    world.change(suspend=False)
    world.drive()

    assert [(row.attempt, row.charged, row.outcome.value) for row in world.rows("ppo")] == [(1, False, "Interrupted"), (2, False, "Done")]


def test_gpu_hours_of_the_policy_count_against_the_budget(make_world):
    world = make_world(loop={"maxIterations": 1}, policy=BASE, resources={"ppo": {"gpus": 8, "nodes": 2}}, budget={"gpuHours": 4}).at("ppo")
    world.wait(3600 / 4)
    world.reconcile()

    assert world.stopped[-1].reason == "BudgetExceeded"
    world.settle(outcome="interrupted", checkpoint_step=1)
    assert (world.status.phase, world.status.gpu_hours) == ("BudgetExceeded", 4)


@pytest.mark.parametrize("change", [{"policy": None}, {"stages": ["ppo"]}, {"iterations": ()}])
def test_a_policy_that_the_planner_cannot_have_recorded_is_noticed(make_world, change):
    world = make_world(loop=ONE_LOOP, policy=BASE).at("control-full")
    assert coherent(world.run, world.status)
    if "stages" in change:
        change = {"stages": tuple(row for row in world.status.stages if row.stage.value not in change["stages"])}

    assert not coherent(world.run, world.status.model_copy(update=change))


def test_a_policy_in_a_run_that_wants_none_is_noticed(make_world):
    aligned = make_world(loop={"maxIterations": 1}, policy=BASE).drive().status
    assert not coherent(make_world(loop={"maxIterations": 1}).run, SERRunStatus.model_validate(aligned.model_dump()))
