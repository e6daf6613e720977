"""Out of fold stays out of fold: what a fold's model learns from itself alone tells it nothing of the labels that it has not seen."""

import numpy as np
import pytest

from ser_core.api.spec.loop import ThresholdsSpec
from ser_core.learn.evaluation.folds import folds_of_groups
from ser_core.learn.trust.confident import FoldEvidence, most_confident, own_labels

SEED, WIDTH, FOLDS, LOOPS = 400, 500, 4, 3
BOUND = 3.3 * 0.5 / SEED**0.5
"""Of an accuracy on the seed by a coin, one time in a thousand."""


def evolve(own_lineage, random_state=0):
    """Out-of-fold accuracy of each loop, on random labels. Linear models that can learn every pair by heart; the pool repeats the seed."""
    random = np.random.default_rng(random_state)
    pairs = random.normal(size=(SEED, WIDTH)) / WIDTH**0.5  # features of the first answer minus those of the second
    label = random.choice([-1.0, 1.0], size=SEED)
    fold_of = folds_of_groups({f"p{number}": f"p{number}" for number in range(SEED)}, FOLDS, seed=0)
    fold = np.array([fold_of[f"p{number}"] for number in range(SEED)])

    def fit(rows, targets):
        return rows.T @ np.linalg.solve(rows @ rows.T + 0.1 * np.eye(len(rows)), targets)

    accuracies, learnt = [], [np.zeros(SEED)] * FOLDS
    for _ in range(LOOPS + 1):
        models = []
        for number in range(FOLDS):
            chosen = np.flatnonzero(learnt[number])
            rows = np.concatenate((pairs[fold != number], pairs[chosen]))
            models.append(fit(rows, np.concatenate((label[fold != number], learnt[number][chosen]))))
        margins = np.stack([pairs @ model for model in models])
        unseen = margins[fold, np.arange(SEED)] * label
        accuracies.append(float((unseen > 0).mean()))
        evidence = FoldEvidence(unseen, np.zeros(SEED), margins, np.zeros(SEED))
        kept = most_confident(margins.mean(axis=0), np.zeros(SEED), ThresholdsSpec(), evidence, minimum=1)
        of_the_mean = [np.where(kept.kept, kept.better, 0)] * FOLDS  # what the reward model learns, which knows every label
        named = [own_labels(row, int(kept.kept.sum())) for row in margins] if own_lineage else of_the_mean
        learnt = [np.where(one == 1, 1.0, np.where(one == 2, -1.0, 0.0)) for one in named]
    return accuracies


@pytest.mark.parametrize("random_state", range(3))
def test_random_labels_stay_a_coin_in_every_loop(random_state):
    assert all(abs(accuracy - 0.5) < BOUND for accuracy in evolve(True, random_state))


def test_with_labels_of_the_mean_they_would_not():
    assert evolve(False)[-1] > 0.5 + BOUND
