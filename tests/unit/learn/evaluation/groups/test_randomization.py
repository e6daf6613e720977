"""The randomization test against plain counting, the sign test, and chance."""

import math
from fractions import Fraction
from itertools import product
from statistics import fmean

import numpy as np
import pytest

from ser_core.learn.evaluation.groups.randomization import randomization_test


@pytest.mark.parametrize("seed", range(20))
def test_p_is_the_share_of_all_signs_whose_sum_is_as_far_from_0(seed):
    sums = np.random.default_rng(seed).integers(-5, 6, 9)
    flipped = [abs(np.dot(signs, sums)) >= abs(sums.sum()) for signs in product((-1, 1), repeat=len(sums))]
    assert randomization_test(sums.astype(float)) == pytest.approx(fmean(flipped))


def test_no_difference_is_no_evidence():
    assert randomization_test(np.zeros(30)) == 1.0


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (1, 0), (5, 5), (10, 2), (0, 6), (121, 59), (500, 450)])
def test_of_single_pairs_p_is_that_of_mcnemar_which_sums_the_tails_of_the_binomial(better, worse):
    discordant = better + worse
    observed = math.comb(discordant, better)
    tails = (math.comb(discordant, k) for k in range(discordant + 1))
    expected = sum(Fraction(ways, 2**discordant) for ways in tails if ways <= observed)
    sums = np.array([1.0] * better + [-1.0] * worse + [0.0] * 20)
    assert randomization_test(sums) == pytest.approx(float(expected), abs=1e-13)
    assert randomization_test(-sums) == pytest.approx(randomization_test(sums), abs=1e-13)


def test_it_bears_many_discordant_pairs():
    assert randomization_test(np.repeat([1.0, -1.0], 10_000)) == pytest.approx(1.0)
    assert randomization_test(np.ones(20_000)) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("groups", [10, 20, 100])
def test_equal_arms_are_called_different_at_1_percent_no_more_than_once_in_a_hundred(groups):
    random = np.random.default_rng(groups)
    called = [randomization_test(random.integers(-3, 4, groups).astype(float)) < 0.01 for _ in range(5000)]
    assert 0.002 < fmean(called) < 0.014
