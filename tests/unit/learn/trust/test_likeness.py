"""A pool that looks other than the seed is told, and one that does not is not."""

from dataclasses import replace

import numpy as np
import pytest

from ser_core.learn.trust.confident import FoldEvidence
from ser_core.learn.trust.likeness import distance, unlike


def evidence(draw, pool_scale=1.0, pool_shift=0.0, seed=60, pool=300):
    random = np.random.default_rng(draw)
    return FoldEvidence(
        margins=random.normal(0.5, 1.0, seed),
        differences=random.normal(0.0, 0.5, seed),
        folds=pool_scale * random.normal(0.5, 1.0, (2, pool)) * random.choice((-1, 1), pool),
        pool_differences=random.normal(0.0, 0.5, pool) + pool_shift,
    )


def told_of(found, seed_prompts=(), pool_prompts=()):
    return unlike(found, np.array(seed_prompts), np.array(pool_prompts))


def test_a_pool_of_other_prompts_is_told():
    random = np.random.default_rng(0)
    seed, pool = random.integers(40, 90, 60), random.integers(40, 300, 200)
    assert told_of(evidence(0), seed, seed.repeat(3)) == told_of(evidence(0), seed[:19], pool) == ()
    assert told_of(evidence(0), seed, seed.repeat(3) + 17) == ()
    (told,) = told_of(evidence(0), seed, pool)
    assert told.startswith("the pool is unlike the seed: prompts are 67.00 characters long there and 173.50 here")


def test_pools_of_the_same_kind_are_hardly_ever_told():
    assert sum(bool(told_of(evidence(draw))) for draw in range(300)) <= 2


def test_a_pool_on_which_models_are_less_sure_is_told_with_numbers():
    (told,) = told_of(evidence(0, pool_scale=0.3))
    assert told.startswith("the pool is unlike the seed: the two scores of a pair lie ")
    assert "logits apart there" in told and "ser suggest" in told


def test_a_pool_of_other_lengths_is_told():
    (told,) = told_of(evidence(0, pool_shift=1.0))
    assert "the logarithms of the two lengths lie" in told


@pytest.mark.parametrize("few", [evidence(0, 0.1, seed=19), evidence(0, 0.1, pool=19), evidence(0, 0.1, pool=0)])
def test_of_few_pairs_nothing_is_said(few):
    assert told_of(few) == ()
    assert told_of(replace(few, folds=np.zeros((0, 0)))) == ()


def test_the_distance_is_that_of_the_textbook():
    assert distance(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0])) == 0.5
    assert distance(np.array([1.0, 1.0]), np.array([1.0])) == 0.0
