"""What shows that a run feeds on its own labels."""

import numpy as np
import pytest

from ser_core.api.spec.loop import ThresholdsSpec
from ser_core.learn.trust.confident import FoldEvidence
from ser_core.learn.trust.monitors import Unseen, by_chance, by_probabilities, by_temperature, monitors, same_labels
from ser_core.learn.trust.selection import reference

HIGH = np.array([3.0, 2.0, 0.1, -1.0])
LOW = np.array([-3.0, 1.9, 0.0, 1.0])


def watch(unseen=None, same=None, delta=0.3):
    return monitors(HIGH, LOW, reference(HIGH, LOW, ThresholdsSpec(delta=delta)), unseen, same)


def test_scores_margins_and_the_statuses_of_the_kept_are_counted():
    found = watch(same=0.9)
    assert (found.same_labels, found.score, found.margin) == (0.9, pytest.approx(0.5), pytest.approx(8.2 / 4))
    assert (found.easier, found.as_sure, found.right) == (1.0, None, None)


def test_truth_is_measured_on_the_unseen_pairs_that_are_as_sure_as_the_least_sure_kept_one():
    least = reference(HIGH, LOW, ThresholdsSpec()).confidence[3]
    found = watch(Unseen(np.array([0.99, least, least - 1e-6]), np.array([True, False, True])))
    assert (found.as_sure, found.right) == (2, 0.5)
    assert least < found.confidence < 1.0


def test_where_nothing_is_kept_nothing_is_claimed():
    nothing = reference(HIGH * 0, HIGH * 0, ThresholdsSpec())
    found = monitors(HIGH * 0, HIGH * 0, nothing, Unseen(np.array([0.9]), np.array([True])), None)
    assert (found.confidence, found.as_sure, found.right, found.easier) == (None, 0, None, None)
    empty = np.array([])
    assert monitors(empty, empty, nothing, None, None) is None


def test_the_same_labels_are_counted_among_the_pairs_of_both_loops():
    assert same_labels({"a": 1, "b": 2, "c": 1, "new": 1}, {"a": 1, "b": 1, "c": 1, "gone": 2}) == pytest.approx(2 / 3)
    assert same_labels({"a": 1}, {}) is None


def test_an_unseen_pair_has_the_confidence_of_a_pair_of_the_pool():
    assert by_probabilities(HIGH, LOW).confidence == pytest.approx(reference(HIGH, LOW, ThresholdsSpec()).confidence)
    assert list(by_probabilities(HIGH, LOW).right) == [True, True, True, False]
    assert by_temperature(np.array([0.0, -2.0])).confidence == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
    margins = np.random.default_rng(0).normal(1.0, 1.0, 400)
    unseen = by_chance(FoldEvidence(margins, margins * 0, np.zeros((2, 0)), np.zeros(0)))
    assert abs(unseen.confidence.mean() - unseen.right.mean()) < 0.05
