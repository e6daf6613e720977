"""The difference of two reward models, by groups."""

from statistics import fmean

import numpy as np
import pytest

from ser_core.learn.evaluation.groups import bootstrap
from ser_core.learn.evaluation.groups.bootstrap import difference_of, paired_difference


def test_it_is_of_the_pairs_that_both_have_and_counts_groups():
    found = difference_of({"a": True, "b": True, "c": False, "x": True}, {"a": False, "b": False, "c": False}, {"a": "g", "b": "g"})
    assert (found.mean, found.groups, found.p_value) == (pytest.approx(2 / 3), 2, 1.0)
    alone = difference_of({"a": True, "b": True, "c": False}, {"a": False, "b": False, "c": False}, {})
    assert (alone.mean, alone.groups, alone.p_value) == (pytest.approx(2 / 3), 3, pytest.approx(0.5))


def test_its_interval_covers_the_truth_where_pairs_of_a_group_go_together(monkeypatch):
    monkeypatch.setattr(bootstrap, "_MANY", 100)
    random, held = np.random.default_rng(3), {True: [], False: []}
    for _ in range(60):
        sums = np.repeat(random.normal(0.05, 0.3, (40, 1)), 10, axis=1)
        pairs = np.sign(sums + random.normal(0, 0.1, sums.shape)) * (random.random(sums.shape) < 0.3)
        truth = 0.3 * (2 * 0.5627 - 1)  # the chance that a normal number of mean 0.05 and variance 0.1 is above 0 is 0.5627
        for grouped, covered in held.items():
            table = np.stack([pairs.sum(1), np.full(40, 10.0)], 1) if grouped else np.stack([pairs.ravel(), np.ones(400)], 1)
            found = paired_difference(table)
            covered.append(found.low <= truth <= found.high)
    assert fmean(held[True]) >= 0.88
    assert fmean(held[False]) < 0.8


def test_equal_groups_that_are_drawn_together_give_the_same_interval(monkeypatch):
    table = np.stack([np.random.default_rng(0).integers(-2, 4, 400), np.full(400, 3)], 1).astype(float)
    apart = paired_difference(table)
    monkeypatch.setattr(bootstrap, "_MANY", 100)
    together = paired_difference(table)
    assert (together.low, together.high) == pytest.approx((apart.low, apart.high), abs=0.004)
    assert together.mean == apart.mean
