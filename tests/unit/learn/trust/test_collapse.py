"""A reward model that has fallen apart is found by comparison with its fold models."""

import numpy as np
import pytest

from ser_core.learn.trust.collapse import Fit, why_collapsed


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
        "it is right on 0.580 of the 100 labelled pairs that it has learnt, and its fold models unseen on 0.800"
    )


def test_a_model_that_contradicts_its_folds_on_the_pool_is_named_with_numbers():
    told = why_collapsed(fit(noise=5.0))
    assert told.startswith("it agrees with its fold models on 0.") and "of 200 pairs of the pool" in told


def test_models_that_are_all_coins_are_not_told_apart():
    random = np.random.default_rng(1)
    coins = Fit(random.normal(size=60), random.normal(size=60), random.normal(size=200), random.normal(size=(4, 200)))
    assert why_collapsed(coins) == ""
