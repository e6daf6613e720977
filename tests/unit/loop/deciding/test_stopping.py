"""When the evolution ends: dev accuracy decides, held-out accuracy and agreement never do."""

import pytest

from ser_core.api.spec.loop import LoopSpec, StoppingSpec
from ser_core.api.stage import RetrainMetrics
from ser_core.api.status import IterationStatus
from ser_core.loop.deciding import stopping


def iterations(*dev, losses=()):
    rows = []
    for number, accuracy in enumerate(dev):
        loss = losses[number] if losses else 0.5
        gain = stopping.gain(accuracy, rows)
        rows.append(IterationStatus(iteration=number, learning_status="Status1", dev_accuracy=accuracy, dev_loss=loss, gain=gain))
    return tuple(rows)


@pytest.mark.parametrize(
    ("dev", "stop", "reason"),
    [
        ((0.6, 0.6, 0.6), {}, None),
        ((0.6, 0.7), {"patience": 1}, None),
        ((0.6, 0.6), {"patience": 1}, None),
        ((0.6, 0.6, 0.6), {"patience": 1}, "NoGain"),
        ((0.6, 0.5, 0.7, 0.7), {"patience": 1}, None),
        ((0.6, 0.5), {"patience": 0}, "NoGain"),
        ((0.6, 0.5, 0.5), {"patience": 2}, None),
        ((0.6, 0.5, 0.5, 0.6), {"patience": 2}, "NoGain"),
        ((0.81, 0.83), {"minGain": 0.02, "patience": 0}, None),
        ((0.81, 0.829), {"minGain": 0.02, "patience": 0}, "NoGain"),
        ((0.6, 0.7, 0.8, 0.9, 0.95), {}, "MaxIterations"),
    ],
)
def test_the_loops_end_when_dev_gains_too_little_for_too_long(dev, stop, reason):
    loop = LoopSpec.model_validate({"rule": "paper", "maxIterations": 4, "stopping": stop})

    ended = stopping.ending(loop, iterations(*dev))

    assert (ended and ended.reason) == reason


def test_a_gain_is_measured_against_the_best_before_not_the_last():
    assert [row.gain for row in iterations(0.6, 0.8, 0.5, 0.7, 0.81)] == [None, 0.2, -0.3, -0.1, 0.01]


def test_the_earlier_of_two_equal_reward_models_is_the_best():
    assert stopping.best(iterations(0.6, 0.7, 0.7, 0.65)).iteration == 1
    assert stopping.best(()) is None


def test_of_two_equal_accuracies_the_lower_loss_is_the_better_model_and_a_gain():
    rows = iterations(0.6, 0.7, 0.7, 0.7, losses=(0.6, 0.5, 0.4, 0.45))
    assert stopping.best(rows).iteration == 2
    assert [stopping.loops_without_gain(StoppingSpec(), rows[:number]) for number in (2, 3, 4)] == [0, 0, 1]
    assert stopping.loops_without_gain(StoppingSpec(min_gain=0.01), rows[:3]) == 1


@pytest.mark.parametrize(
    ("loop", "reason"),
    [
        ({"rule": "calibrated", "thresholds": {"targetPrecision": 0.9}}, "NoGain"),
        ({"rule": "calibrated", "stopping": {"rollback": "none"}}, None),
        ({"rule": "paper"}, None),
        ({"rule": "reference"}, None),
        ({"rule": "reference", "stopping": {"rollback": "best"}}, "NoGain"),
    ],
)
def test_a_loop_that_would_only_repeat_the_last_one_is_not_made(loop, reason):
    ended = stopping.ending(LoopSpec.model_validate({"maxIterations": 4, **loop}), iterations(0.6, 0.7, 0.65))
    assert (ended and ended.reason) == reason


def crossed(*gains):
    """Loops of cross-fitted models: gain in log loss and its standard error. Dev accuracy falls all the time, and decides nothing."""
    rows = [IterationStatus(iteration=0, learning_status="Seed", dev_accuracy=0.9, dev_loss=0.6, folds=4)]
    for number, (gain, error) in enumerate(gains, 1):
        figures = {"dev_accuracy": 0.9 - number / 100, "gain": -0.01, "loss_gain": gain, "loss_gain_error": error}
        rows.append(IterationStatus(iteration=number, learning_status="Status1", folds=4, **figures))
    return tuple(rows)


@pytest.mark.parametrize(
    ("gains", "loop", "reason", "best"),
    [
        ([(0.02, 0.01), (-0.01, 0.02), (-0.01, 0.02)], {}, None, 3),
        ([(-0.03, 0.01), (-0.03, 0.01)], {}, "NoGain", 0),
        ([(-0.03, 0.01), (-0.005, 0.01), (-0.03, 0.01)], {}, None, 2),
        ([(-0.03, 0.01)], {"stopping": {"patience": 0}}, "NoGain", 0),
        ([(-0.03, 0.01), (0.001, 0.01)], {"stopping": {"patience": 0, "minGain": 0.5}}, None, 2),
        ([(0.02, 0.01), (-0.001, 0.01)], {"stopping": {"rollback": "best"}}, None, 2),
        ([(0.02, 0.01), (-0.011, 0.01)], {"stopping": {"rollback": "best"}}, "NoGain", 1),
        ([(0.02, 0.01)] * 4, {}, "MaxIterations", 4),
    ],
    ids=[
        "within chance",
        "worse twice",
        "worse, but not in a row",
        "no patience",
        "minGain ignored",
        "rolled back within chance",
        "would repeat",
        "the end",
    ],
)
def test_cross_fitted_models_are_chosen_and_ended_by_the_out_of_fold_log_loss(gains, loop, reason, best):
    rows = crossed(*gains)
    ended = stopping.ending(LoopSpec.model_validate({"maxIterations": 4, **loop}), rows)
    assert (ended and ended.reason) == reason
    assert stopping.best(rows).iteration == best


def collapsing(rows, *collapsed):
    return tuple(row.model_copy(update={"collapsed": row.iteration in collapsed}) for row in rows)


@pytest.mark.parametrize(
    ("rows", "collapsed", "best"),
    [
        (crossed((0.05, 0.01)), (1,), 0),
        (crossed((0.05, 0.01), (0.05, 0.01)), (1,), 2),
        (crossed((-0.05, 0.01)), (0,), 1),
        (crossed((-0.05, 0.01), (-0.05, 0.01)), (0,), 1),
        (crossed((0.05, 0.01), (-0.05, 0.01)), (0, 1, 2), 1),
        (iterations(0.6, 0.7), (1,), 0),
        (iterations(0.7, 0.6, 0.5), (0,), 1),
    ],
)
def test_a_model_that_does_not_hold_is_the_best_only_where_none_holds(rows, collapsed, best):
    assert stopping.best(collapsing(rows, *collapsed)).iteration == best


@pytest.mark.parametrize(
    ("rows", "collapsed", "loop", "message"),
    [
        (crossed((0.05, 0.01)), (1,), {}, None),
        (crossed((0.05, 0.01), (0.05, 0.01)), (1, 2), {}, "2 loops in a row gave a reward model that does not hold (patience 1)"),
        (crossed((0.05, 0.01), (0.05, 0.01)), (0, 1, 2), {}, "2 loops in a row gave a reward model that does not hold (patience 1)"),
        (
            crossed((0.05, 0.01), (-0.05, 0.01)),
            (1,),
            {},
            "than the best one by more than a standard error or gave a reward model that does",
        ),
        (crossed((-0.05, 0.01)), (0,), {"stopping": {"patience": 0}}, None),
        (iterations(0.7, 0.6), (0,), {"rule": "paper", "stopping": {"patience": 0, "minGain": 0.1}}, None),
        (
            crossed((0.05, 0.01)),
            (1,),
            {"stopping": {"rollback": "best"}},
            "loop 1 gave a reward model that does not hold, and the next one",
        ),
        (crossed((-0.05, 0.01)), (0,), {"stopping": {"rollback": "best"}}, None),
    ],
)
def test_a_loop_whose_model_does_not_hold_gains_nothing_and_the_first_that_holds_gains(rows, collapsed, loop, message):
    ended = stopping.ending(LoopSpec.model_validate({"maxIterations": 4, **loop}), collapsing(rows, *collapsed))
    assert ended is None if message is None else message in ended.message


def test_the_latest_of_cross_fitted_models_labels():
    assert not stopping.rolls_back(LoopSpec(), crossed())
    assert stopping.rolls_back(LoopSpec(), iterations(0.6))  # the image follows the rule of version 0.1.0
    assert stopping.rolls_back(LoopSpec.model_validate({"stopping": {"rollback": "best"}}), crossed())


@pytest.mark.parametrize(("p_value", "verdict"), [(0.2, "(p = 0.200, not significant)"), (0.0001, "(p < 0.001, significant)")])
def test_the_message_says_what_the_decision_rests_on(make_world, make_results, p_value, verdict):
    world = make_world(make_results(dev=(0.8, 0.75), p_value=p_value), loop={"stopping": {"patience": 0, "minGain": 0.01}}).drive()

    assert "1 loop in a row gained less than minGain 0.01 on dev (patience 0)" in world.status.message
    assert (
        f"dev accuracy 0.7500 on 120 pairs, 95 % interval 0.700 to 0.800; -0.0500 against the seed model {verdict}" in world.status.message
    )


@pytest.mark.parametrize(
    ("gain", "error", "said"),
    [
        (0.0059, 0.0137, "lower by 0.0059 (standard error 0.0137, not significant)"),
        (-0.004, 0.001, "higher by 0.0040 (standard error 0.0010, significant)"),
    ],
)
def test_a_difference_of_log_losses_that_may_be_chance_is_called_so(gain, error, said):
    assert stopping.loss_change(gain, error) == said


@pytest.mark.parametrize(
    ("heldout", "said"), [((0.7, 0.8), "the seed model's 0.7000; "), ((0.8, 0.7), "the seed model's 0.8000, which is more: ")]
)
def test_the_end_tells_the_interval_and_what_the_seed_model_reached(make_world, make_results, heldout, said):
    results = make_results(dev=(0.6, 0.7))

    def measured(stage, iteration):
        metrics = results(stage, iteration)
        if not isinstance(metrics, RetrainMetrics):
            return metrics
        return metrics.model_copy(update={"heldout": metrics.heldout.model_copy(update={"accuracy": heldout[iteration]})})

    message = make_world(measured, loop={"maxIterations": 1}).drive().status.message
    assert f"held-out accuracy {heldout[1]:.4f} (95 % interval " in message
    assert said in message


def test_no_decision_reads_heldout_or_agreement(make_world, make_results):
    loop = {"rule": "paper", "maxIterations": 4, "controls": ["full", "seedOnly", "pseudoLabelOnce"]}
    dev = (0.6, 0.7, 0.65, 0.75, 0.7)
    worlds = [
        make_world(make_results(dev=dev, heldout=heldout, agreement=agreement), loop=loop)
        for heldout, agreement in [(0.9, 0.9), (0.1, 0.1), (0.0, None)]
    ]
    actions = [[], [], []]
    while worlds[0].status.phase != "Completed":
        for world, taken in zip(worlds, actions, strict=True):
            taken.append(world.settle().actions)

    assert len(actions[0]) > 12
    assert actions[0] == actions[1] == actions[2]
    assert worlds[0].status.reward_model.accuracy != worlds[1].status.reward_model.accuracy
