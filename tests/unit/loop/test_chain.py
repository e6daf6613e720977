"""The chain of stages and what each one reads."""

import re

import pytest

from ser_core.api.stage import InputRole
from ser_core.api.status import Monitors, SERRunStatus, StageKind
from ser_core.loop.deciding.stages import StageKey, inputs_of, job_name

CHAIN = [("prepare", 0), ("retrain", 0), ("label", 1), ("filter", 1), ("retrain", 1), ("label", 2), ("filter", 2), ("retrain", 2)]


def started(world):
    return [(stage, iteration) for stage, iteration, _, _ in world.started()]


def inputs(world, stage, iteration):
    action = next(a for a in world.specs.values() if (a.spec.stage.value, a.spec.iteration) == (stage, iteration))
    return {role.value: (source.stage.value, source.iteration) for role, source in action.spec.inputs.items()}


def test_stages_run_in_order_and_the_run_completes(make_world):
    world = make_world(loop={"maxIterations": 2}).drive()

    assert started(world) == CHAIN
    assert world.status.phase == "Completed"
    assert [iteration.dev_accuracy for iteration in world.status.iterations] == [0.6, 0.7, 0.8]
    assert [iteration.gain for iteration in world.status.iterations] == [None, 0.1, 0.1]
    assert world.status.iterations[1].monitors == Monitors(
        same_labels=0.667, score=-33.333, margin=33.333, confidence=0.667, right=0.667, easier=0.667
    )
    assert world.status.reward_model.cut_fraction == 0.2
    assert world.status.best_iteration == 2
    assert world.status.reward_model.uri.endswith("iter-0002/retrain/MANIFEST.json")
    assert world.status.reward_model.accuracy == 0.75
    assert (world.status.stage, world.status.iteration) == (None, 2)
    assert "maxIterations 2 reached" in world.status.message


def test_controls_follow_the_loops_in_their_order(make_world):
    world = make_world(loop={"maxIterations": 2, "controls": ["pseudoLabelOnce", "full", "seedOnly"]}).drive()

    assert started(world)[len(CHAIN) :] == [("control-pseudo-label-once", 0), ("control-full", 0), ("control-seed-only", 0)]
    assert [control.control for control in world.status.controls] == ["pseudoLabelOnce", "full", "seedOnly"]
    assert inputs(world, "control-full", 0) == {"prepared": ("prepare", 0), "best": ("retrain", 2)}
    assert inputs(world, "control-pseudo-label-once", 0) == {"prepared": ("prepare", 0), "labels": ("label", 1), "best": ("retrain", 2)}


@pytest.mark.parametrize(
    ("rule", "stage", "iteration", "expected"),
    [
        ("calibrated", "prepare", 0, {}),
        ("calibrated", "retrain", 0, {"prepared": ("prepare", 0)}),
        ("calibrated", "label", 2, {"prepared": ("prepare", 0), "labeler": ("retrain", 1)}),
        ("reference", "label", 1, {"prepared": ("prepare", 0), "labeler": ("retrain", 0)}),
        ("reference", "label", 2, {"prepared": ("prepare", 0), "labeler": ("retrain", 1), "keptBefore": ("filter", 1)}),
        ("paper", "label", 2, {"prepared": ("prepare", 0), "labeler": ("retrain", 1)}),
        ("paper", "filter", 1, {"prepared": ("prepare", 0), "labels": ("label", 1), "labeler": ("retrain", 0)}),
        (
            "calibrated",
            "filter",
            2,
            {"prepared": ("prepare", 0), "labels": ("label", 2), "labeler": ("retrain", 1), "keptBefore": ("filter", 1)},
        ),
        (
            "calibrated",
            "retrain",
            2,
            {"prepared": ("prepare", 0), "kept": ("filter", 2), "labeler": ("retrain", 1), "best": ("retrain", 1)},
        ),
        (
            "paper",
            "retrain",
            2,
            {
                "prepared": ("prepare", 0),
                "kept": ("filter", 2),
                "labeler": ("retrain", 1),
                "best": ("retrain", 1),
                "keptBefore": ("filter", 1),
            },
        ),
        ("paper", "retrain", 1, {"prepared": ("prepare", 0), "kept": ("filter", 1), "labeler": ("retrain", 0), "best": ("retrain", 0)}),
    ],
)
def test_inputs_follow_the_table(make_world, rule, stage, iteration, expected):
    assert inputs(make_world(loop={"maxIterations": 2, "rule": rule}).drive(), stage, iteration) == expected


def test_a_filter_does_without_the_loop_before_where_the_status_has_forgotten_it(make_world):
    spec = make_world(loop={"maxIterations": 3}).run.spec
    assert InputRole.KEPT_BEFORE not in inputs_of(StageKey(2, StageKind.FILTER), spec, SERRunStatus(best_iteration=1))


@pytest.mark.parametrize("rule", ["paper", "reference"])
def test_the_papers_rules_never_go_back_and_take_every_loop(make_world, make_results, rule):
    world = make_world(make_results(dev=(0.8, 0.7, 0.75, 0.7)), loop={"rule": rule, "maxIterations": 3}).drive()

    assert {inputs(world, stage, 3)["labeler"] for stage in ("label", "filter", "retrain")} == {("retrain", 2)}
    assert inputs(world, "retrain", 3)["best"] == ("retrain", 0)
    assert world.status.best_iteration == 0


@pytest.mark.parametrize("rule", ["calibrated", "paper", "reference"])
def test_with_rollback_no_loop_follows_one_that_is_not_the_best(make_world, make_results, rule):
    loop = {"rule": rule, "maxIterations": 3, "stopping": {"rollback": "best", "patience": 2}}
    world = make_world(make_results(dev=(0.6, 0.8, 0.7)), loop=loop).drive()

    assert (world.status.best_iteration, world.status.iterations[-1].iteration) == (1, 2)
    assert "the next one, rolled back, would only repeat it" in world.status.message


@pytest.mark.parametrize(
    ("dev", "stop_at", "steps"),
    [((0.6, 0.8, 0.7), None, 101), ((0.8, 0.6, 0.7), None, 102), ((0.8, 0.6), 2, 101), ((0.8,), 1, None)],
    ids=["best loop", "last loop", "last loop before a stop", "own"],
)
def test_seed_only_takes_as_many_steps_as_the_loops(make_world, make_results, dev, stop_at, steps):
    loop = {"rule": "paper", "maxIterations": 2, "controls": ["seedOnly"], "stopping": {"patience": 5, "rollback": "none"}}
    world = make_world(make_results(dev=dev, stop_at=stop_at), loop=loop).drive()

    action = next(a for a in world.specs.values() if a.spec.stage is StageKind.CONTROL_SEED_ONLY)
    assert action.spec.steps == steps


def test_a_best_reward_model_that_does_not_hold_is_said_to_be_one(make_world, make_results):
    notes = ("the reward model still does not hold after 3 trainings: too bad", "a training collapsed and was repeated: " + 300 * "x")
    world = make_world(make_results(notes=notes, collapsed=True), loop={"maxIterations": 1}).drive()
    assert notes[0] in world.status.stages[-1].message
    assert world.status.message.startswith("best reward model: loop 1, which does not hold, held-out accuracy")
    assert "which does not hold" not in make_world(loop={"maxIterations": 1}).drive().status.message


@pytest.mark.parametrize(("collapsed", "best"), [((1,), 2), ((2,), 1), ((1, 2), 0), ((0, 1), 2), ((0, 1, 2), 2)])
def test_what_decides_on_and_stands_in_the_status_is_a_model_that_holds_where_there_is_one(make_world, make_results, collapsed, best):
    loop = {"maxIterations": 2, "controls": ["full"], "stopping": {"patience": 5}}
    world = make_world(make_results(loss_gain=0.05, collapsed=collapsed), loop=loop).drive()
    assert world.status.best_iteration == best
    assert world.status.reward_model.uri == world.store[best, StageKind.RETRAIN].manifest.uri
    assert inputs(world, "control-full", 0)["best"] == ("retrain", best)
    assert (f"best reward model: loop {best}, which does not hold" in world.status.message) is (len(collapsed) == 3)


@pytest.mark.parametrize(("groups", "told"), [(9, True), (10, False), (None, False)])
def test_a_result_that_rests_on_few_groups_says_so(make_world, make_results, groups, told):
    world = make_world(make_results(groups=groups), loop={"maxIterations": 1}).drive()
    assert (" (9 groups of held-out pairs: of fewer than 10 no interval is to be trusted)" in world.status.message) is told
    assert (world.status.reward_model.pairs, world.status.reward_model.groups) == (120, groups)


def test_repeated_trainings_are_counted(make_world, make_results):
    world = make_world(make_results(trainings=3), loop={"maxIterations": 1}).drive()
    assert [row.repeated for row in world.status.iterations] == [2, 2]
    assert make_world(loop={"maxIterations": 1}).drive().status.iterations[0].repeated is None


def test_a_stop_ends_the_loops_without_a_retrain(make_world, make_results):
    world = make_world(make_results(stop_at=2, notes=("no threshold reaches 0.9",)), loop={"controls": ["full"]}).drive()

    assert started(world) == [*CHAIN[:-1], ("control-full", 0)]
    last = world.status.iterations[-1]
    assert (last.iteration, last.learning_status, last.kept, last.dev_accuracy) == (2, "Stop", 0, None)
    assert last.finished_at
    assert world.status.best_iteration == 1


@pytest.mark.parametrize("controls", [[], ["full", "seedOnly"]])
def test_a_stop_says_why_nothing_was_trusted(make_world, make_results, controls):
    world = make_world(make_results(stop_at=1, notes=("no threshold reaches 0.9",)), loop={"controls": controls}).drive()

    assert world.status.message.endswith("loop 1 found too few pairs to trust (no threshold reaches 0.9)")


def test_a_raised_max_iterations_lets_the_loops_go_on(make_world):
    world = make_world(loop={"maxIterations": 1}).at("retrain", 1)
    world.change(max_iterations=2)
    world.drive()

    assert started(world) == CHAIN


def test_controls_that_have_begun_are_finished_before_another_loop(make_world):
    world = make_world(loop={"maxIterations": 1, "controls": ["full", "seedOnly"]}).at("control-full")
    world.change(max_iterations=3)
    world.drive()

    chain = started(world)
    assert chain[chain.index(("control-full", 0)) :][:3] == [("control-full", 0), ("control-seed-only", 0), ("label", 2)]
    assert chain[-1] == ("retrain", 3)


def test_pseudo_label_once_is_left_out_when_the_pool_was_never_labelled(make_world):
    world = make_world(loop={"maxIterations": 1, "controls": ["pseudoLabelOnce"]}).at("control-pseudo-label-once")
    world.jobs.clear()
    forgotten = tuple(row for row in world.rows() if row.stage in ("prepare", "retrain"))
    world.run = world.run.model_copy(update={"status": world.status.model_copy(update={"stages": forgotten})})
    world.reconcile()

    assert world.status.phase == "Completed"
    assert "control pseudoLabelOnce left out" in world.status.message


def test_a_job_name_is_a_dns_label_and_tells_attempts_apart(make_run):
    runs = [make_run(name=name, uid=uid) for name, uid in [("a", "1"), ("a", "2"), ("x.y" * 80, "1"), ("0-9", "")]]
    keys = [StageKey(iteration, stage) for iteration in (0, 32) for stage in StageKind]
    names = [job_name(run, key, attempt) for run in runs for key in keys for attempt in (1, 2)]

    assert all(re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) and len(name) <= 56 for name in names)
    assert len(set(names)) == len(names)
    assert names == [job_name(run, key, attempt) for run in runs for key in keys for attempt in (1, 2)]


@pytest.mark.parametrize(("cpu", "threads"), [("1Ki", 1024), ("1k", 1000), ("1T", 4096), ("0.00001", 1)])
def test_a_number_of_cpus_that_only_earlier_versions_admitted_gives_threads(make_world, cpu, threads):
    world = make_world(resources={"prepare": {"cpu": cpu}}).at("prepare")
    assert next(iter(world.specs.values())).spec.threads == threads


def test_a_deadline_beyond_the_calendar_that_only_earlier_versions_admitted_is_one_of_ten_years(make_world):
    world = make_world(activeDeadline="9999999999999999h").at("prepare")
    assert next(iter(world.specs.values())).max_seconds == 10 * 365 * 24 * 3600


@pytest.mark.parametrize(("cpu", "threads"), [(None, 2), ("4", 4), (4, 4), ("2500m", 2), ("500m", 1), ("1.5", 1)])
def test_threads_are_the_whole_cpus_of_the_stage_else_those_of_the_start(make_world, cpu, threads):
    world = make_world(resources={"prepare": {"cpu": cpu}})
    (action,) = world.plan().actions

    assert action.spec.threads == threads


def test_image_and_threads_are_frozen_at_the_first_commit(make_world):
    world = make_world().at("prepare")
    world.image, world.threads = "registry.example/ser:2", 3
    world.settle(outcome="interrupted")
    assert (world.status.image, world.status.threads, world.status.stage_spec_version) == ("registry.example/ser:2", 3, 1)
    world.settle()
    world.image, world.threads = "registry.example/ser:3", 9
    world.drive()

    assert (world.status.image, world.status.threads, world.status.stage_spec_version) == ("registry.example/ser:2", 3, 1)
    assert [action.spec.threads for action in world.specs.values()][1:] == [3] * (len(world.specs) - 1)


def test_every_role_is_given_to_some_stage(make_world):
    roles = set()
    for rule in ("paper", "reference"):
        for action in (
            make_world(loop={"maxIterations": 2, "rule": rule}, policy={"base": "hf://org/policy", "sft": {}}).drive().specs.values()
        ):
            roles |= set(action.spec.inputs)

    assert roles == set(InputRole)
