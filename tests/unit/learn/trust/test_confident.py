"""Rule calibrated: the share of the pool that the mean of the fold models is most sure of."""

import numpy as np
import pytest

from ser_core.api.spec.loop import ThresholdsSpec
from ser_core.errors import QualityError
from ser_core.learn.trust.confident import FoldEvidence, accord, most_confident, own_labels

OPEN = ThresholdsSpec()


def world(pairs=100, seed=200, right=0.8, noise=0.3, random_state=0):
    """Fold models that see the same margins with noise, a seed on which they are right so often, and lengths that mean nothing."""
    random = np.random.default_rng(random_state)
    margins = np.abs(random.normal(size=seed)) * np.where(random.random(seed) < right, 1, -1)
    truth = random.normal(size=pairs)
    folds = truth + noise * random.normal(size=(4, pairs))
    evidence = FoldEvidence(margins, np.zeros(seed), folds, np.zeros(pairs))
    return folds.mean(axis=0), np.zeros(pairs), evidence


def test_the_surest_three_fifths_are_kept_with_hard_targets():
    score_1, score_2, evidence = world()
    found = most_confident(score_1, score_2, OPEN, evidence, minimum=8)
    assert found.kept.sum() == 60
    assert found.confidence[found.kept].min() == found.threshold >= found.confidence[~found.kept].max()
    assert set(found.target) == {1.0}
    assert found.weight[found.kept].mean() == pytest.approx(1.0)
    assert np.array_equal(found.better, np.where(score_1 > 0, 1, 2))
    assert found.learning_status != "Stop"


def test_a_pair_on_which_the_folds_contradict_each_other_weighs_less():
    folds = np.array([[2.0, 4.0, 1.0], [2.0, -1.0, 1.0]])
    assert accord(folds).tolist() == [1.0, 0.6, 1.0]
    assert accord(np.zeros((2, 1))).tolist() == [0.0]
    evidence = FoldEvidence(np.array([1.0, 2.0, 1.0, -1.0]), np.zeros(4), folds, np.zeros(3))
    weight = most_confident(folds.mean(axis=0), np.zeros(3), OPEN, evidence, minimum=1).weight
    assert weight[1] < weight[0]


def test_a_long_winner_is_less_sure_where_the_seed_says_that_length_misleads():
    confidence = most_confident(np.ones(4), np.zeros(4), OPEN, misleading(np.array([2.0, 0.0, -2.0, 0.0])), minimum=1).confidence
    assert confidence[0] == 0.5 < confidence[1] < confidence[2]


def test_of_labels_that_the_lengths_speak_against_the_least_doubtful_are_kept():
    found = most_confident(np.full(5, 0.1), np.zeros(5), OPEN, misleading(np.array([2.0, 1.5, 1.0, 0.5, -2.0])), minimum=1)
    assert found.confidence[:4].tolist() == [0.5] * 4
    assert found.kept.tolist() == [False, False, True, True, True]


def misleading(differences):
    """A seed in which length tells against an answer as much as the score tells for it; a pool of answers 1 longer by ``differences``."""
    random = np.random.default_rng(1)
    margins, lengths = random.normal(size=4000), random.normal(size=4000)
    sign = np.where(random.random(4000) < 1 / (1 + np.exp(-(2 * margins - 2 * lengths))), 1.0, -1.0)
    return FoldEvidence(margins * sign, lengths * sign, np.ones((2, len(differences))), differences)


def test_a_floor_keeps_fewer_and_one_out_of_reach_nothing():
    score_1, score_2, evidence = world(right=0.75)
    reached = most_confident(score_1, score_2, ThresholdsSpec(target_precision=0.8), evidence, minimum=1)
    assert 0 < reached.kept.sum() <= 60
    missed = most_confident(score_1, score_2, ThresholdsSpec(target_precision=0.999), evidence, minimum=1)
    assert (missed.kept.sum(), missed.learning_status) == (0, "Stop")
    assert "no confidence reaches targetPrecision" in missed.notes[0]


def test_less_than_an_optimizer_step_stops_and_says_so():
    found = most_confident(*_arranged(10), minimum=7)
    assert (found.kept.sum(), found.learning_status) == (0, "Stop")
    assert "6 pairs to keep are fewer than one optimizer step takes (training.pairsPerStep 7)" in found.notes
    empty = most_confident(*_arranged(0), minimum=1)
    assert empty.learning_status == "Stop"


def _arranged(pairs):
    score_1, score_2, evidence = world(pairs=pairs)
    return score_1, score_2, OPEN, evidence


def test_a_pair_without_a_winner_is_never_kept():
    score_1, score_2, evidence = world()
    found = most_confident(np.where(np.arange(100) < 90, 0.0, score_1), score_2, OPEN, evidence, minimum=1)
    assert found.kept.sum() == 10


@pytest.mark.parametrize(("ties", "kept"), [(352, 600), (500, 500)])
def test_pairs_without_a_winner_take_no_place_of_others(ties, kept):
    score_1, score_2, evidence = world(pairs=1000)
    tied = np.arange(1000) < ties
    long_wins = np.where(evidence.margins > 0, 1.0, -1.0)
    evidence = FoldEvidence(evidence.margins, long_wins, evidence.folds, np.where(tied, 3.0, 0.0))
    found = most_confident(np.where(tied, 0.0, score_1), score_2, OPEN, evidence, minimum=1)
    assert found.kept.sum() == kept
    assert not found.kept[tied].any()


def test_scores_that_are_not_finite_are_refused():
    _, score_2, evidence = world()
    with pytest.raises(QualityError):
        most_confident(np.full(100, np.nan), score_2, OPEN, evidence, minimum=1)


def test_a_fold_learns_the_labels_that_it_is_itself_surest_of():
    assert own_labels(np.array([0.5, -3.0, 0.0, 1.0]), 2).tolist() == [0, 2, 0, 1]
    assert own_labels(np.array([0.5, -3.0, 0.0, 1.0]), 4).tolist() == [1, 2, 0, 1]


def test_the_answers_order_changes_nothing_but_the_names():
    score_1, score_2, evidence = world()
    turned = FoldEvidence(evidence.margins, evidence.differences, -evidence.folds, -evidence.pool_differences)
    one, other = most_confident(score_1, score_2, OPEN, evidence, 1), most_confident(score_2, score_1, OPEN, turned, 1)
    assert np.array_equal(one.better, 3 - other.better)
    assert np.array_equal(one.kept, other.kept)
    assert np.allclose(one.weight, other.weight)
