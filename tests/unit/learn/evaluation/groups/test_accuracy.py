"""The interval of an accuracy: Wilson's where each pair is a group, and true to its name where pairs are right or wrong together."""

import math
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.learn.evaluation.groups.accuracy import accuracy_interval, effective_pairs, wilson
from ser_core.learn.evaluation.groups.table import table_of

quick = settings(max_examples=40)


def interval(right, groups):
    return accuracy_interval(table_of(right, groups))


def drawn(random, groups, size, accuracy, spread):
    """Right and wrong pairs, and their groups; each group has an accuracy of its own, that of a beta distribution."""
    of_groups = random.beta(spread * accuracy, spread * (1 - accuracy), groups)
    right = random.random((groups, size)) < of_groups[:, np.newaxis]
    return (
        {f"{group}-{pair}": bool(right[group, pair]) for group in range(groups) for pair in range(size)},
        {f"{group}-{pair}": f"g{group}" for group in range(groups) for pair in range(size)},
    )


def covered(groups, size, accuracy, spread, *, told=True):
    random = np.random.default_rng(groups)
    found = [drawn(random, groups, size, accuracy, spread) for _ in range(400)]
    intervals = [interval(right, known if told else {}) for right, known in found]
    return fmean(low <= accuracy <= high for low, high in intervals)


@quick
@given(st.integers(1, 2000), st.data())
def test_ends_of_wilsons_interval_are_where_the_score_test_is_just_significant(pairs, data):
    right = data.draw(st.integers(0, pairs))
    for end in wilson(right, pairs):
        if 1e-12 < end < 1 - 1e-12:
            z = (right / pairs - end) / math.sqrt(end * (1 - end) / pairs)
            assert abs(z) == pytest.approx(1.959964, abs=1e-4)


def test_interval_stays_within_the_possible():
    for right in (0, 5):
        low, high = wilson(right, 5)
        assert 0 <= low < high <= 1
        assert high - low > 0.4


@quick
@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_where_each_pair_is_a_group_it_is_wilsons(right):
    pairs = {f"p{number}": one for number, one in enumerate(right)}
    for groups in ({}, {name: name for name in pairs}):
        assert interval(pairs, groups) == wilson(sum(right), len(right))


@pytest.mark.parametrize(("groups", "size"), [(20, 10), (10, 20), (5, 40)])
def test_it_covers_the_truth_where_pairs_of_a_group_agree_and_that_of_independent_pairs_does_not(groups, size):
    assert covered(groups, size, 0.7, 0.5) >= 0.9
    assert covered(groups, size, 0.7, 0.5, told=False) < 0.7


def test_the_manual_tells_what_the_simulation_finds():
    told, alone = (covered(20, 10, 0.7, 0.5, told=known) for known in (True, False))
    found = f"holds the true accuracy in {told:.0%} of the cases; that of 200 pairs by themselves in {alone:.0%}".replace("%", " %")
    assert found in Path("docs/method.md").read_text(encoding="utf-8")


def test_of_groups_that_do_not_differ_it_is_hardly_wider():
    assert 0.92 < covered(20, 10, 0.7, 1e6) < 0.98
    random = np.random.default_rng(0)
    widths = [np.diff([interval(right, known), interval(right, {})]).ravel() for right, known in _independent(random)]
    assert 1 <= fmean(wide / narrow for wide, narrow in widths) < 1.25


def _independent(random):
    return [drawn(random, 20, 10, 0.7, 1e6) for _ in range(100)]


@quick
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=60))
def test_groups_never_make_it_narrower_and_it_holds_the_accuracy(rows):
    right = {f"p{number}": one for number, (one, _) in enumerate(rows)}
    groups = {f"p{number}": f"g{group}" for number, (_, group) in enumerate(rows)}
    low, high = interval(right, groups)
    narrow = interval(right, {})
    assert 0 <= low <= fmean(right.values()) + 1e-12 and fmean(right.values()) <= high + 1e-12 <= 1 + 1e-12
    assert high - low >= narrow[1] - narrow[0] - 1e-12


def test_where_all_pairs_are_right_or_in_one_group_each_group_counts_once():
    right = {f"p{number}": True for number in range(30)}
    groups = {f"p{number}": f"g{number % 6}" for number in range(30)}
    assert interval(right, groups) == pytest.approx(wilson(6, 6))
    half = {name: number % 2 == 0 for number, name in enumerate(right)}
    assert interval(half, dict.fromkeys(half, "one")) == pytest.approx(wilson(0.5, 1))


def test_few_groups_count_by_the_square_of_how_much_wider_students_t_is():
    alike = np.array([[14.0, 20.0]] * 10)  # groups that do not differ: a design effect of 1
    assert effective_pairs(alike) == pytest.approx(200 * (1.97196 / 2.26216) ** 2, rel=1e-3)
