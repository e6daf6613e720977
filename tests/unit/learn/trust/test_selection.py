"""Which pairs each rule keeps, how it labels and weighs them, and why it keeps none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.api.spec.loop import ThresholdsSpec
from ser_core.errors import QualityError
from ser_core.learn.trust.selection import Evidence, calibrated, length_balance, paper, reference

quick = settings(max_examples=40)

LENIENT = ThresholdsSpec(high=0.55, low=0.45, delta=0.30, min_samples=1, target_precision=0.9)
EARLIER = ThresholdsSpec(target_precision=0.9)


def logits(*probabilities):
    return np.array([math.log(p / (1 - p)) for p in probabilities])


def evidence(margins, temperature=1.0, longer=None, share=None, pairs=0):
    return Evidence(
        temperature, np.array(margins, dtype=float), np.zeros(pairs, dtype=np.int64) if longer is None else np.array(longer), share
    )


CERTAIN = [1.0] * 90 + [-1.0] * 10
"""Calibration margins: from confidence sigmoid(1) = 0.731 on, 90 % are right."""

P1 = logits(0.60, 0.40, 0.95, 0.54, 0.50)
P2 = logits(0.40, 0.60, 0.60, 0.44, 0.50)
"""Status 1, Status 1 mirrored, Status 2 alone (both answers good), neither, a tie."""


def test_paper_trains_on_status_1_while_it_has_enough_pairs():
    found = paper(P1, P2, LENIENT)
    assert found.learning_status == "Status1"
    assert found.kept.tolist() == [True, True, False, False, False]
    assert found.better.tolist() == [1, 2, 1, 1, 1]
    assert found.status.tolist() == [1, 1, 2, 0, 0]
    assert (found.status1, found.status2, found.threshold, found.notes) == (2, 1, None, ())
    assert found.confidence == pytest.approx([0.6, 0.6, 0.675, 0.55, 0.5])
    assert found.target.tolist() == found.weight.tolist() == [1.0] * 5


def test_paper_turns_to_status_2_when_status_1_is_rare_and_keeps_all_wide_gaps():
    found = paper(logits(0.9, 0.95, 0.95, 0.6), logits(0.4, 0.6, 0.6, 0.5), LENIENT.model_copy(update={"min_samples": 3}))
    assert found.learning_status == "Status2"
    assert (found.status1, found.status2) == (1, 3)
    assert found.kept.tolist() == [True, True, True, False]


def test_a_gap_of_exactly_delta_is_kept_by_paper_and_not_by_reference():
    scores = np.array([math.log(3)]), np.array([0.0])
    thresholds = LENIENT.model_copy(update={"delta": 0.25})
    assert paper(*scores, thresholds).kept.tolist() == [True]
    assert reference(*scores, thresholds).kept.tolist() == [False]


@pytest.mark.parametrize("rule", [paper, reference])
def test_a_tie_has_no_winner_and_is_never_kept(rule):
    found = rule(np.array([1.0, 1.0]), np.array([1.0, 0.0]), LENIENT.model_copy(update={"delta": 0.0}))
    assert found.kept.tolist() == [False, True]


def test_reference_keeps_the_union_of_both_statuses():
    found = reference(P1, P2, LENIENT)
    assert found.kept.tolist() == [True, True, True, False, False]
    assert found.learning_status == "Status1"


def test_scores_that_are_too_close_together_are_named_in_numbers():
    found = paper(logits(0.56, 0.57), logits(0.46, 0.451), ThresholdsSpec(min_samples=600))
    assert found.learning_status == "Stop"
    assert not found.kept.any()
    assert found.notes[0] == "0 pairs meet Status 1 and 0 Status 2, both below minSamples 600"
    assert found.notes[1] == "minSamples 600 is more than the 2 labelled pairs: scale it with the pool"
    assert found.notes[2].startswith("largest |p1 - p2| is 0.119, below delta 0.30: the scores are too close together; train the seed")
    assert found.notes[3].endswith("the probabilities lie between 0.451 and 0.570")


def test_scores_that_a_training_has_destroyed_are_not_told_to_need_a_higher_rate():
    assert "close together; lower training.learningRate" in paper(logits(0.5), logits(0.5), ThresholdsSpec(min_samples=1)).notes[1]


def test_reference_stops_when_no_score_lies_on_the_other_side():
    found = reference(logits(0.7), logits(0.6), LENIENT)
    assert found.learning_status == "Stop"
    assert len(found.notes) == 2


@pytest.mark.parametrize("rule", [paper, reference])
def test_empty_pool_stops(rule):
    found = rule(np.zeros(0), np.zeros(0), LENIENT)
    assert (found.learning_status, found.notes[-1]) == ("Stop", "there is no labelled pair to choose from")


def test_calibrated_keeps_from_the_threshold_on_with_soft_targets():
    first, second = np.array([2.0, 0.0, 1.8, 0.0]), np.array([0.0, 2.2, 0.0, 0.0])
    found = calibrated(first, second, EARLIER, evidence(CERTAIN, temperature=2.0, pairs=4), minimum=2)
    assert found.threshold == pytest.approx(1 / (1 + math.exp(-1)))
    assert found.kept.tolist() == [True, True, False, False]
    assert found.better.tolist() == [1, 2, 1, 1]
    assert found.confidence == pytest.approx([1 / (1 + math.exp(-m)) for m in (1.0, 1.1, 0.9, 0.0)])
    assert found.target.tolist() == found.confidence.tolist()


def test_calibrated_counts_statuses_on_centred_scores():
    first, second = logits(0.7, 0.3), logits(0.3, 0.7)
    for shift in (0.0, 5.0):
        found = calibrated(first + shift, second + shift, EARLIER, evidence(CERTAIN, pairs=2), minimum=1)
        assert (found.status1, found.status2, found.status.tolist()) == (2, 2, [1, 1])


def test_calibrated_stops_below_one_optimizer_step():
    found = calibrated(np.array([2.0, 0.5]), np.zeros(2), EARLIER, evidence(CERTAIN, pairs=2), minimum=2)
    assert (found.learning_status, found.kept.any()) == ("Stop", False)
    assert found.notes[-1] == (
        "1 of 2 pairs reach threshold 0.731, the highest confidence is 0.881: fewer than one optimizer step (training.pairsPerStep 2)"
    )


def test_calibrated_says_which_precision_is_in_reach():
    found = calibrated(np.full(9, 5.0), np.zeros(9), EARLIER, evidence([2.0] * 16 + [-2.0] * 4 + [-1.0] * 80, pairs=9), minimum=1)
    assert (found.learning_status, found.kept.any(), found.threshold) == ("Stop", False, None)
    assert found.notes[0].startswith(
        "no confidence reaches targetPrecision 0.9 on 100 calibration pairs: the best is 0.800 from confidence 0.881 on (20 pairs)"
    )


def test_calibrated_says_that_there_are_too_few_calibration_pairs():
    found = calibrated(np.full(9, 5.0), np.zeros(9), EARLIER, evidence([3.0] * 12, pairs=9), minimum=1)
    assert found.notes[0].startswith("12 calibration pairs are fewer than the 20")


def test_threshold_that_luck_may_explain_is_called_not_significant():
    lucky = calibrated(np.ones(9), np.zeros(9), EARLIER, evidence([0.1] * 20, pairs=9), minimum=1)
    assert lucky.notes[0].startswith("not significant: 20 of 20 calibration pairs are right")
    sure = calibrated(np.ones(9), np.zeros(9), EARLIER, evidence([0.1] * 200, pairs=9), minimum=1)
    assert sure.notes == ()


def test_empty_pool_stops_calibrated():
    assert calibrated(np.zeros(0), np.zeros(0), EARLIER, evidence(CERTAIN), minimum=1).learning_status == "Stop"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    scores = np.array([0.0, bad]), np.array([1.0, 1.0])
    for select in (
        lambda: paper(*scores, LENIENT),
        lambda: reference(*scores, LENIENT),
        lambda: calibrated(*scores, LENIENT, evidence(CERTAIN, pairs=2), 1),
    ):
        with pytest.raises(QualityError, match="1 of 2 labelled pairs"):
            select()


def test_weights_give_the_longer_answer_the_seeds_share():
    kept = np.array([True] * 10 + [False])
    longer_wins = np.array([1] * 7 + [-1] * 3 + [1])
    weight = length_balance(longer_wins, kept, 0.6)
    assert weight[:7].sum() / weight[:10].sum() == pytest.approx(0.6)
    assert weight[0] == pytest.approx(0.6 / 0.7)
    assert weight[-1] == 1.0


def test_weights_are_clipped_and_pairs_of_equal_length_lie_between():
    weight = length_balance(np.array([1] * 9 + [-1, 0]), np.ones(11, dtype=bool), 0.2)
    assert weight[9] / weight[0] == pytest.approx(2.0 / 0.5)
    assert weight[10] / weight[0] == pytest.approx(1.0 / 0.5)


def test_weights_are_even_where_there_is_nothing_to_balance():
    everything = np.ones(3, dtype=bool)
    assert length_balance(np.array([1, 1, 0]), everything, 0.5).tolist() == [1.0] * 3
    assert length_balance(np.array([1, -1, 0]), everything, None).tolist() == [1.0] * 3
    assert length_balance(np.array([1, -1, 0]), ~everything, 0.7).tolist() == [1.0] * 3


pairs = st.lists(st.tuples(st.floats(-6, 6), st.floats(-6, 6), st.sampled_from([-1, 0, 1])), min_size=1, max_size=40)
margins = st.lists(st.floats(-4, 6), min_size=20, max_size=60)
precision = st.floats(0.51, 0.99)


def select(rule, drawn, margin=CERTAIN, target=0.9):
    first, second, longer = (np.array(column) for column in zip(*drawn, strict=True))
    thresholds = LENIENT.model_copy(update={"target_precision": target})
    if rule is calibrated:
        return calibrated(first, second, thresholds, evidence(margin, 1.3, longer, 0.55), minimum=1)
    return rule(first, second, thresholds)


@pytest.mark.parametrize("rule", [paper, reference, calibrated])
@quick
@given(pairs)
def test_mirrored_pairs_get_mirrored_decisions(rule, drawn):
    found, mirrored = select(rule, drawn), select(rule, [(second, first, -longer) for first, second, longer in drawn])
    ties = np.array([first == second for first, second, _ in drawn])
    assert (found.better + mirrored.better == 3)[~ties].all()
    assert not found.kept[ties].any()
    for name in ("confidence", "target", "weight"):
        assert getattr(mirrored, name) == pytest.approx(getattr(found, name))
    assert (mirrored.kept == found.kept).all()


@pytest.mark.parametrize("rule", [paper, reference, calibrated])
@quick
@given(pairs, st.randoms())
def test_decisions_do_not_depend_on_the_order_of_the_pairs(rule, drawn, random):
    order = random.sample(range(len(drawn)), len(drawn))
    found, shuffled = select(rule, drawn), select(rule, [drawn[row] for row in order])
    assert (shuffled.kept == found.kept[order]).all()
    assert (shuffled.better == found.better[order]).all()
    assert shuffled.weight == pytest.approx(found.weight[order])
    assert (shuffled.status1, shuffled.status2) == (found.status1, found.status2)


@quick
@given(pairs, margins, precision, precision)
def test_higher_target_precision_never_keeps_more(drawn, margin, one, other):
    many = select(calibrated, drawn, margin, min(one, other))
    few = select(calibrated, drawn, margin, max(one, other))
    assert not (few.kept & ~many.kept).any()


@quick
@given(pairs, margins, precision)
def test_weights_of_kept_pairs_have_mean_one(drawn, margin, target):
    found = select(calibrated, drawn, margin, target)
    if found.kept.any():
        assert found.weight[found.kept].mean() == pytest.approx(1.0)
        assert found.weight.min() > 0
        assert found.confidence[found.kept].min() >= found.threshold
