"""What fold models tell: that a reward model has fallen apart, and which settings are the better ones."""

import numpy as np
import pytest

from ser_core.api.spec.training import TrainingSpec
from ser_core.data.tables import TrainingStep
from ser_core.learn.evaluation.collapse import Fit, why_collapsed, why_dead, why_equal
from ser_core.learn.evaluation.search import best_trial
from ser_core.loop.deciding.learning_status import SO_THAT_SCORES_DIFFER


def fit(seen=0.9, unseen=0.8, noise=0.5, pairs=200, seed=100):
    """A reward model that is right so often, and scores the pool as its folds do but for some noise."""
    random = np.random.default_rng(0)
    truth = random.normal(size=pairs)
    folds = truth + 0.5 * random.normal(size=(4, pairs))
    right = [np.where(np.arange(seed) < share * seed, 1.0, -1.0) for share in (seen, unseen)]
    return Fit(*right, truth + noise * random.normal(size=pairs), folds)


@pytest.mark.parametrize("model", [fit(), fit(seen=0.78), fit(seen=0.5, unseen=0.5), fit(pairs=0)])
def test_a_sound_model_passes(model):
    assert why_collapsed(model) == ""


def test_a_model_that_has_not_learnt_its_own_pairs_is_named_with_numbers():
    assert why_collapsed(fit(seen=0.58)) == (
        "it is right on 0.580 of the 100 labelled pairs that it has learnt, and the fold models unseen on 0.800"
    )


def test_a_model_that_contradicts_its_folds_on_the_pool_is_named_with_numbers():
    told = why_collapsed(fit(noise=5.0))
    assert told.startswith("it agrees with the fold models on 0.") and "of 200 pairs of the pool" in told


def test_models_that_are_all_coins_are_not_told_apart():
    random = np.random.default_rng(1)
    coins = Fit(random.normal(size=60), random.normal(size=60), random.normal(size=200), random.normal(size=(4, 200)))
    assert why_collapsed(coins) == ""


def steps(losses, norms):
    return [TrainingStep(number, loss, 1e-3, norm, 8, 100) for number, (loss, norm) in enumerate(zip(losses, norms, strict=True), 1)]


DEAD = steps([0.7, 0.5, 0.4, 0.7, 0.7, 0.68, 0.7, 0.69], [0.1, 2.0, 5.0, 1.0, 0.01, 0.005, 0.005, 0.005])


def test_a_training_that_has_lost_its_gradient_is_named_with_numbers():
    assert why_dead(DEAD, TrainingSpec(), [0.0]) == (
        "its loss ended at 0.695, as of equal scores, and its gradient has vanished (a norm of 0.005 after up to 5)"
    )


@pytest.mark.parametrize(
    "sound",
    [
        steps([0.7, 0.4, 0.1, 0.01], [0.1, 5.0, 1.0, 0.01]),
        steps([0.69, 0.7, 0.69, 0.69], [0.1, 0.1, 0.12, 0.09]),
        steps([0.69], [0.0]),
    ],
    ids=["learnt by heart", "nothing to learn", "no gradient at all"],
)
def test_a_training_that_has_learnt_all_or_never_anything_has_not_died(sound):
    assert why_dead(sound, TrainingSpec(), [0.0]) == ""


@pytest.mark.parametrize(
    ("margins", "told"),
    [
        ([0.0] * 100, "the two scores of 100 of 100 pairs are exactly equal: " + SO_THAT_SCORES_DIFFER),
        ([0.0] * 99 + [1e-9], "the two scores of 99 of 100 pairs are exactly equal: " + SO_THAT_SCORES_DIFFER),
        ([0.0] * 98 + [1e-9] * 2, ""),
        ([], ""),
    ],
)
def test_a_model_whose_scores_are_exactly_equal_has_learnt_nothing(margins, told):
    assert why_equal(np.array(margins)) == told


def test_equal_scores_cost_the_margin_under_hinge():
    assert why_dead(DEAD, TrainingSpec(loss="hinge", margin=1.0), [0.0]) == ""
    assert why_dead(DEAD, TrainingSpec(loss="hinge", margin=0.5), [0.0]) != ""


@pytest.mark.parametrize("loss", ["bradley-terry", "hinge"])
def test_equal_scores_cost_more_where_pairs_have_margins(loss):
    training = TrainingSpec(loss=loss, margin=0.7)
    assert why_dead(DEAD, training, [0.0, 0.0]) != ""
    assert why_dead(DEAD, training, [0.0, 1.0]) == ""


def test_the_trial_with_the_lowest_log_loss_is_taken_whatever_the_scale_of_its_scores():
    random = np.random.default_rng(0)
    weak, good = 0.3 + random.normal(size=300), 1.5 + random.normal(size=300)
    assert best_trial([weak, 40 * good]) == 1
    assert best_trial([good, weak]) == 0
    assert best_trial([good, good]) == 0
    assert best_trial([weak]) == 0
