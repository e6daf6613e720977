"""Temperature, folds and the precision threshold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.errors import QualityError
from ser_core.learn.evaluation.calibration import fit_temperature, learnt_too_little
from ser_core.learn.evaluation.folds import FOLDS, folds
from ser_core.learn.trust.tails import MIN_TAIL, Tail, lowest_reaching, tails

quick = settings(max_examples=40)

margins = st.lists(st.floats(-20, 20).filter(lambda value: abs(value) > 1e-3), min_size=1, max_size=60).map(np.array)


def smoothed_loss(margin, temperature):
    right = (len(margin) + 1) / (len(margin) + 2)
    return sum(right * math.log1p(math.exp(-m / temperature)) + (1 - right) * math.log1p(math.exp(m / temperature)) for m in margin)


def test_temperature_of_equal_margins_gives_the_smoothed_share_of_right_pairs():
    temperature = fit_temperature(np.array([2.0] * 8 + [-2.0] * 2))
    right = (8 * 11 / 12 + 2 * 1 / 12) / 10
    assert temperature == pytest.approx(2.0 / math.log(right / (1 - right)), rel=1e-9)


def test_temperature_is_found_again_in_drawn_labels():
    generator = np.random.default_rng(7)
    log_odds = generator.normal(0, 2, 20_000)
    margin = np.where(generator.random(20_000) < 1 / (1 + np.exp(-log_odds)), log_odds, -log_odds)
    assert fit_temperature(3.5 * margin) == pytest.approx(3.5, rel=0.05)


def test_temperature_stays_finite_when_all_pairs_are_right():
    temperature = fit_temperature(np.full(98, 4.0))
    assert 1 / (1 + math.exp(-4.0 / temperature)) == pytest.approx(99 / 100)


def test_model_no_better_than_chance_is_given_no_confidence():
    temperature = fit_temperature(np.array([1.0, -1.0, -1.0]))
    assert 1 / (1 + math.exp(-1.0 / temperature)) < 0.51


def test_temperature_without_differences_is_one():
    assert fit_temperature(np.zeros(3)) == 1.0


@quick
@given(margins)
def test_no_other_temperature_in_the_range_fits_better(margin):
    temperature, scale = fit_temperature(margin), float(np.mean(np.abs(margin)))
    best = smoothed_loss(margin, temperature)
    for other in (temperature * 0.9, temperature * 1.1):
        if scale / 100 <= other <= scale * 100:
            assert smoothed_loss(margin, other) >= best - 1e-9


@quick
@given(margins, st.floats(0.01, 100))
def test_temperature_scales_with_the_margins(margin, factor):
    assert fit_temperature(margin * factor) == pytest.approx(fit_temperature(margin) * factor, rel=1e-6)


@pytest.mark.parametrize("bad", [[1.0, math.nan], [math.inf, 1.0], []])
def test_unusable_margins_are_refused(bad):
    with pytest.raises(QualityError):
        fit_temperature(np.array(bad))
    with pytest.raises(QualityError):
        tails(np.array(bad))


@quick
@given(st.integers(0, 60), st.randoms(), st.integers(0, 99))
def test_folds_are_balanced_and_independent_of_the_order(pairs, random, seed):
    ids = [f"pair {number}" for number in range(pairs)]
    shuffled = random.sample(ids, len(ids))
    by_id = dict(zip(ids, folds(ids, seed), strict=True))
    assert by_id == dict(zip(shuffled, folds(shuffled, seed), strict=True))
    sizes = [list(by_id.values()).count(fold) for fold in range(FOLDS)]
    assert max(sizes) - min(sizes) <= 1


def test_folds_change_with_the_seed_and_keep_equal_ids_together():
    ids = [f"prompt {number // 2}" for number in range(80)]
    first = folds(ids, 0)
    assert (first[::2] == first[1::2]).all()
    assert (first != folds(ids, 1)).any()


def test_tails_count_pairs_of_equal_confidence_together():
    margin = np.array([3.0] * 20 + [2.0, -2.0, 2.0] + [-1.0])
    found = tails(margin)
    assert [(tail.pairs, tail.right) for tail in found] == [(20, 20), (23, 22), (24, 22)]
    assert [tail.confidence for tail in found] == pytest.approx([1 / (1 + math.exp(-m)) for m in (3, 2, 1)])


def test_zero_margin_counts_as_wrong():
    assert tails(np.zeros(MIN_TAIL)) == (Tail(0.5, MIN_TAIL, 0),)


def test_no_tail_rests_on_too_few_pairs():
    assert tails(np.ones(MIN_TAIL - 1)) == ()


def test_widest_tail_wins_although_a_narrower_one_misses_the_precision():
    candidates = (Tail(0.95, 20, 19), Tail(0.9, 30, 26), Tail(0.8, 60, 55), Tail(0.7, 80, 60))
    assert lowest_reaching(candidates, 0.9) == candidates[2]
    assert lowest_reaching(candidates, 0.95) == candidates[0]
    assert lowest_reaching(candidates, 0.96) is None


def test_precision_that_is_just_reached_counts():
    assert lowest_reaching((Tail(0.9, 20, 18),), 0.9) == Tail(0.9, 20, 18)


@quick
@given(margins, st.floats(0.5, 1), st.floats(0.5, 1))
def test_higher_precision_never_widens_the_tail(margin, one, other):
    candidates = tails(margin)
    wide, narrow = lowest_reaching(candidates, min(one, other)), lowest_reaching(candidates, max(one, other))
    assert narrow is None or (wide is not None and narrow.pairs <= wide.pairs)


@quick
@given(margins, st.randoms())
def test_tails_do_not_depend_on_the_order_of_the_pairs(margin, random):
    assert tails(np.array(random.sample(list(margin), len(margin)))) == tails(margin)


def test_margins_far_too_small_for_how_often_they_are_right_are_told():
    small = fit_temperature(np.array([0.2] * 45 + [-0.2] * 15))
    (note,) = learnt_too_little(small, 60, searched=False)
    assert "5.3 times too small" in note
    assert "raise training.epochs" in note
    assert learnt_too_little(10 * small, 60, searched=False) == ()
    assert learnt_too_little(small, 49, searched=False) == ()
    (note,) = learnt_too_little(small, 60, searched=True)
    assert note.endswith("it has learnt too little; let training.search try more epochs and higher learningRates")
