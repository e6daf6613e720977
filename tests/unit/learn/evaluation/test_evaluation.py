"""Accuracy, intervals, calibration and the paired test, against numbers worked out here by hand or from the definitions."""

import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.data.tables import EvaluatedPair
from ser_core.errors import QualityError
from ser_core.learn.evaluation.evaluation import evaluate, report
from ser_core.learn.evaluation.groups.accuracy import wilson

quick = settings(max_examples=40)


def pair(name, chosen, rejected, tokens=(10, 10), source="a"):
    return EvaluatedPair(str(name), source, float(chosen), float(rejected), *tokens)


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_ties_are_wrong_and_the_interval_is_wilsons():
    evaluation = evaluate([pair(0, 1, 0), pair(1, 2, -1), pair(2, 0, 1), pair(3, 1, 1)], 1.0, None)
    assert (evaluation.pairs, evaluation.accuracy) == (4, 0.5)
    assert (evaluation.accuracy_low, evaluation.accuracy_high) == pytest.approx((0.15004, 0.84996), abs=1e-5)
    assert evaluation.versus_best is None


def test_comparison_matches_pairs_by_id():
    this = [pair(0, 1, 0), pair(1, 1, 0), pair(2, 1, 0), pair(3, 0, 1)]
    best = [pair(3, 1, 0), pair(2, 0, 1), pair(1, 0, 1), pair(0, 1, 0)]
    versus = evaluate(this, 1.0, best).versus_best
    assert (versus.only_this, versus.only_best, versus.p_value) == (2, 1, 1.0)


def test_interval_and_p_count_groups_where_they_are_known():
    this = [pair(number, 1, 0) if number < 30 else pair(number, 0, 1) for number in range(40)]
    best = [pair(number, 1, 0) if number < 20 else pair(number, 0, 1) for number in range(40)]
    groups = {str(number): f"g{number // 10}" for number in range(40)}
    alone, grouped = evaluate(this, 1.0, best), evaluate(this, 1.0, best, groups)
    assert (alone.groups, grouped.groups, alone.accuracy) == (None, 4, grouped.accuracy)
    assert grouped.accuracy_low < alone.accuracy_low - 0.1
    assert (alone.versus_best.p_value, grouped.versus_best.p_value) == (pytest.approx(2 / 2**10), 1.0)
    wide, narrow = (report(this, 1.0, known)["sources"][0] for known in (groups, None))
    assert (wide["low"], wide["high"]) == (grouped.accuracy_low, grouped.accuracy_high)
    assert narrow["low"] == alone.accuracy_low


def test_comparison_of_different_pairs_is_refused():
    with pytest.raises(QualityError, match="different pairs: only one of them has 1"):
        evaluate([pair(0, 1, 0)], 1.0, [pair(0, 1, 0), pair(1, 1, 0)])


def test_length_rule_counts_equal_lengths_half():
    pairs = [pair(0, 0, 1, (9, 3)), pair(1, 0, 1, (3, 9)), pair(2, 1, 0, (3, 9)), pair(3, 0, 1, (5, 5))]
    assert evaluate(pairs, 1.0, None).length_only_accuracy == (1 + 0 + 0 + 0.5) / 4


def test_log_loss_is_the_mean_surprise_at_the_temperature():
    loss = evaluate([pair(0, 3, 1), pair(1, 0, 1)], 2.0, None).log_loss
    assert loss == pytest.approx(-(math.log(sigmoid(1.0)) + math.log(sigmoid(-0.5))) / 2)


def test_calibration_error_weighs_the_gaps_of_ten_bins():
    pairs = [pair(number, 1 + number // 2, 0) if number % 2 else pair(number, 0, 1 + number // 2) for number in range(20)]
    expected = sum(abs(sigmoid(1 + step) - 0.5) for step in range(10)) / 10
    assert evaluate(pairs, 1.0, None).calibration_error == pytest.approx(expected)


def test_certain_and_right_is_calibrated():
    assert evaluate([pair(0, 60, 0)], 1.0, None).calibration_error == pytest.approx(0.0)


def test_unusable_pairs_are_refused():
    with pytest.raises(QualityError, match="no labelled pair"):
        evaluate([], 1.0, None)
    with pytest.raises(QualityError, match="first is b"):
        evaluate([pair("a", 1, 0), pair("b", math.nan, 0)], 1.0, None)


def test_report_groups_by_source_length_and_confidence():
    pairs = [pair(0, 1, 0, (9, 3), "z"), pair(1, 0, 1, (9, 3), "a"), pair(2, 2, 0, (3, 9), "a"), pair(3, 3, 0, (3, 3), "a")]
    found = report(pairs, 1.0)
    assert json.loads(json.dumps(found)) == found
    assert [(row["source"], row["pairs"], row["lengthOnly"]) for row in found["sources"]] == [("a", 3, 0.5), ("z", 1, 1.0)]
    assert found["sources"][0]["accuracy"] == pytest.approx(2 / 3)
    assert (found["sources"][0]["low"], found["sources"][0]["high"]) == pytest.approx(wilson(2, 3))
    relations = [(row["relation"], row["pairs"], row["accuracy"]) for row in found["lengthRelation"]]
    assert relations == [("chosenLonger", 2, 0.5), ("chosenShorter", 1, 1.0), ("equal", 1, 1.0)]
    assert [row["count"] for row in found["calibration"]] == [1, 1, 1, 1]
    assert [row["confidence"] for row in found["calibration"]] == pytest.approx([sigmoid(m) for m in (1, 1, 2, 3)])


def test_bins_are_equally_filled():
    found = report([pair(number, number, 0) for number in range(1, 26)], 1.0)
    assert sorted(row["count"] for row in found["calibration"]) == [2] * 5 + [3] * 5


scores = st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=40)


@quick
@given(scores, st.randoms())
def test_evaluation_does_not_depend_on_the_order_of_the_pairs(values, random):
    pairs = [pair(number, *value) for number, value in enumerate(values)]
    one = evaluate(pairs, 1.5, pairs).model_dump(exclude={"versus_best"})
    other = evaluate(random.sample(pairs, len(pairs)), 1.5, pairs).model_dump(exclude={"versus_best"})
    assert other == pytest.approx(one)


@quick
@given(scores)
def test_turning_every_label_over_mirrors_the_accuracy_but_for_ties(values):
    pairs = [pair(number, *value) for number, value in enumerate(values)]
    turned = [dataclasses.replace(item, score_chosen=item.score_rejected, score_rejected=item.score_chosen) for item in pairs]
    ties = sum(chosen == rejected for chosen, rejected in values) / len(values)
    assert evaluate(turned, 1.0, None).accuracy == pytest.approx(1 - ties - evaluate(pairs, 1.0, None).accuracy)
