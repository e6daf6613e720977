"""From the tables of a loop to the evidence that rule calibrated chooses by. Pure; numpy alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_core.data.tables import EvaluatedPair, FoldScores, PairScores
from ser_core.learn.evaluation.margins import margins_of
from ser_core.learn.trust.confident import FoldEvidence


def fold_margins(rows: Sequence[FoldScores], labels: Sequence[PairScores]) -> NDArray[np.float64]:
    """(folds, pairs) score of answer 1 minus that of answer 2 by each fold model, in the order of ``labels``."""
    scores = {(one.fold, one.id): one.margin for one in rows}
    folds = 1 + max((fold for fold, _ in scores), default=-1)
    return np.array([[scores[fold, pair.id] for pair in labels] for fold in range(folds)], dtype=np.float64).reshape(folds, len(labels))


def fold_evidence(seed: Sequence[EvaluatedPair], labels: Sequence[PairScores], folds: NDArray[np.float64]) -> FoldEvidence:
    """Out-of-fold scores of the whole seed, the fold models' margins (`fold_margins`), and the lengths of the answers in tokens."""
    return FoldEvidence(
        margins=margins_of(seed),
        differences=_log_ratio([pair.tokens_chosen for pair in seed], [pair.tokens_rejected for pair in seed]),
        folds=folds,
        pool_differences=_log_ratio([pair.tokens_1 for pair in labels], [pair.tokens_2 for pair in labels]),
    )


def _log_ratio(one: Sequence[int], other: Sequence[int]) -> NDArray[np.float64]:
    """Differences of the logarithms; an empty answer counts as one token."""
    difference: NDArray[np.float64] = np.subtract(*np.log(np.maximum(np.array([one, other], dtype=np.float64), 1.0)))
    return difference
