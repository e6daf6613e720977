"""The chance that a self-label is right, folds of whole groups, and paired log losses."""

import numpy as np
import pytest

from ser_core.errors import QualityError
from ser_core.learn.evaluation.calibration import sigmoid
from ser_core.learn.evaluation.folds import folds_of_groups
from ser_core.learn.evaluation.paired import paired_loss
from ser_core.learn.trust.chance import fit_chance


def world(pairs, slope, length, seed=0):
    """Pairs whose better answer is drawn by the chance that they have; turned so that the better one comes first."""
    random = np.random.default_rng(seed)
    margins, differences = random.normal(size=pairs), random.normal(size=pairs)
    first = random.random(pairs) < sigmoid(slope * margins + length * differences)
    sign = np.where(first, 1.0, -1.0)
    return margins * sign, differences * sign


@pytest.mark.parametrize(("slope", "length"), [(1.5, -0.8), (0.5, 0.0), (3.0, 0.6)])
def test_slope_and_length_are_found_again(slope, length):
    found = fit_chance(*world(20_000, slope, length))
    assert (found.slope, found.length) == (pytest.approx(slope, rel=0.1), pytest.approx(length, abs=0.06))


def test_of_few_pairs_the_length_is_held_back_by_the_differences_of_ten():
    length = fit_chance(np.array([1.0, -1.0] * 15), np.full(30, 2.0)).length
    right = 31 / 32
    assert 10 * 2.0**2 * length == pytest.approx(30 * 2.0 * (right - sigmoid(np.array(2.0 * length))), rel=1e-6)


def test_a_chance_is_that_of_the_other_answer_turned_over():
    found = fit_chance(*world(500, 1.0, -0.5))
    margins, differences = np.array([0.3, -2.0]), np.array([1.0, -0.2])
    assert np.allclose(found.of(margins, differences) + found.of(-margins, -differences), 1.0)


def test_extremes_stay_finite():
    assert 0 < fit_chance(np.full(50, 3.0), np.zeros(50)).slope < np.inf
    assert fit_chance(np.full(50, -3.0), np.zeros(50)).slope > 0
    for margins in (np.array([]), np.array([np.nan, 1.0])):
        with pytest.raises(QualityError):
            fit_chance(margins, np.zeros(len(margins)))


def test_groups_stay_together_and_folds_are_even():
    groups = {f"p{number}": f"g{number // 3}" for number in range(90)} | {f"q{number}": "large" for number in range(30)}
    fold = folds_of_groups(groups, 4, seed=1)
    assert all(len({fold[pair] for pair, one in groups.items() if one == name}) == 1 for name in set(groups.values()))
    assert np.ptp(np.bincount(list(fold.values()))) <= 3
    assert folds_of_groups(dict(reversed(groups.items())), 4, seed=1) == fold
    assert set(folds_of_groups({"a": "x", "b": "y"}, 4, 0).values()) == {0, 1}


def test_a_paired_loss_is_worse_only_beyond_one_error_and_groups_widen_it():
    random = np.random.default_rng(0)
    before = {f"p{number}": 0.6 for number in range(400)}
    shift = np.repeat(random.normal(scale=0.2, size=20), 20)
    after = {f"p{number}": 0.6 + shift[number] for number in range(400)}
    alone = paired_loss(before, after, {})
    together = paired_loss(before, after, {f"p{number}": f"g{number // 20}" for number in range(400)})
    assert alone.gain == pytest.approx(together.gain) == pytest.approx(-shift.mean())
    assert together.error > 3 * alone.error
    worse, same = (paired_loss(before, other, {}) for other in ({pair: loss + 0.1 for pair, loss in after.items()}, before))
    assert worse.gain < -worse.error
    assert not same.gain < -same.error
    assert paired_loss(before, {}, {}).groups == 0


@pytest.mark.parametrize("groups", [2, 3, 8, 15, 60])
def test_of_few_groups_too_a_paired_loss_that_is_chance_is_called_significant_one_time_in_twenty(groups):
    random = np.random.default_rng(groups)
    before, place = {f"p{number}": 0.6 for number in range(2 * groups)}, {f"p{number}": f"g{number // 2}" for number in range(2 * groups)}
    called = 0
    for _ in range(2000):
        shift = np.repeat(random.normal(size=groups), 2)
        found = paired_loss(before, {pair: 0.6 + shift[number] for number, pair in enumerate(before)}, place)
        called += abs(found.gain) > 1.96 * found.error

    assert called / 2000 == pytest.approx(0.05, abs=0.015)
