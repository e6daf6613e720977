"""Rule calibrated: the pairs that the mean of the fold models is most sure of (docs/method.md). Pure functions of raw logits; numpy alone.

What is kept for the final model may depend on every label of the seed. What fold k's model learns depends on its own scores alone, so that
its scores of the pairs that it has not seen stay those of a model that knows nothing of their labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_core.api.spec.loop import Rule, ThresholdsSpec
from ser_core.learn.trust.chance import Chance, fit_chance
from ser_core.learn.trust.selection import (
    Flags,
    Floats,
    Selection,
    better_answer,
    centred_statuses,
    highest_status,
    length_balance,
    lowest_confidence,
    require_finite,
)
from ser_core.loop.deciding.learning_status import decide

SHARE = 0.6
"""Of the pool, that is kept; less where fewer pairs have a winner. Fixed, so that the number tells nothing of the seed's labels."""
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class FoldEvidence:
    """What the fold models and the labels of the seed tell."""

    margins: Floats
    """(seed pairs,) score of the chosen answer minus that of the rejected one, each by the fold model that has not seen the pair."""
    differences: Floats
    """(seed pairs,) log tokens of the chosen answer minus those of the rejected one."""
    folds: Floats
    """(folds, pairs) score of answer 1 minus that of answer 2 by each fold model."""
    pool_differences: Floats
    """(pairs,) log tokens of answer 1 minus those of answer 2."""


def most_confident(
    score_1: Floats, score_2: Floats, thresholds: ThresholdsSpec, evidence: FoldEvidence, minimum: int, share: float = SHARE
) -> Selection:
    """The ``share`` of the pool whose labels are most likely right, with hard targets; of these, with a floor, those from the floor on.

    The confidence is the chance that the label is right (`fit_chance`). It is fitted on margins of single fold models and used for the
    mean of all, which is less noisy: so it is rather too low than too high. Where the fold models contradict each other a pair weighs less.

    Args:
        score_1: (pairs,) raw logits of the first answers, mean over the fold models.
        score_2: (pairs,) raw logits of the second answers.
        thresholds: targetPrecision is the floor; high, low and delta only count the statuses, on scores centred on their mean.
        evidence: What the fold models and the seed tell.
        minimum: Fewest pairs that are worth an optimizer step.
        share: The ladder alone tries others.

    Raises:
        QualityError: Scores or margins are not finite, or there are no margins.
    """
    require_finite(score_1, score_2)
    margins, chance = score_1 - score_2, fit_chance(evidence.margins, evidence.differences)
    sure = _sureness(chance, margins, evidence.pool_differences)
    confidence = np.maximum(sure, 0.5)
    kept, threshold, notes = _most(sure, margins != 0, share), None, tuple[str, ...]()
    if thresholds.target_precision is not None:
        threshold, notes = _floor(chance, evidence, thresholds.target_precision)
        kept &= confidence >= (np.inf if threshold is None else threshold)
    first, second = centred_statuses(score_1, score_2, thresholds)
    counts = int(first.sum()), int(second.sum())
    learning = decide(Rule.CALIBRATED, *counts, kept=int(kept.sum()), min_samples=thresholds.min_samples, minimum=minimum)
    if kept.sum() < minimum:
        notes += (f"{kept.sum()} pairs to keep are fewer than one optimizer step takes (training.pairsPerStep {minimum})",)
        kept = np.zeros_like(kept)
    better = better_answer(score_1, score_2)
    longer_wins = np.sign(np.where(better == 1, evidence.pool_differences, -evidence.pool_differences)).astype(np.int64)
    weight = length_balance(longer_wins, kept, _longer_share(evidence.differences))
    return Selection(
        better=better,
        confidence=confidence,
        status=highest_status(first, second),
        kept=kept,
        target=np.ones(len(kept)),
        weight=_scaled(weight * accord(evidence.folds), kept),
        status1=counts[0],
        status2=counts[1],
        learning_status=learning,
        threshold=float(confidence[kept].min()) if kept.any() else threshold,
        notes=notes,
    )


def unseen_confidence(evidence: FoldEvidence) -> Floats:
    """(seed pairs,) the confidence of the fold model that has not seen the pair: the chance that it labels it right, at least one half."""
    chance = fit_chance(evidence.margins, evidence.differences)
    return np.maximum(_sureness(chance, evidence.margins, evidence.differences), 0.5)


def own_labels(margins: Floats, count: int) -> NDArray[np.int64]:
    """What one fold model learns in the next loop: (pairs,) 1 or 2 for the ``count`` pairs that it is itself most sure of, else 0.

    Args:
        margins: (pairs,) its own score of answer 1 minus that of answer 2.
        count: As many as the final model learns.
    """
    labels = np.zeros(len(margins), dtype=np.int64)
    chosen = np.argsort(-np.abs(margins), kind="stable")[:count]
    labels[chosen] = np.where(margins[chosen] > 0, 1, np.where(margins[chosen] < 0, 2, 0))
    return labels


def accord(folds: Floats) -> Floats:
    """(pairs,) from 0 to 1: |sum of margins| / sum of |margins| over the fold models; 1 where all prefer the same answer.

    Args:
        folds: (folds, pairs) margins.
    """
    total = np.abs(folds).sum(axis=0)
    return np.where(total > 0, np.abs(folds.sum(axis=0)) / np.where(total > 0, total, 1.0), 0.0)


def _most(sure: Floats, labelled: Flags, share: float) -> Flags:
    """As many as the ``share`` of all pairs, the surest of those with a winner; of equally sure ones the first."""
    kept = np.zeros(len(sure), dtype=np.bool_)
    labels = np.flatnonzero(labelled)
    kept[labels[np.argsort(-sure[labels], kind="stable")[: round(share * len(sure))]]] = True
    return kept


def _sureness(chance: Chance, margins: Floats, differences: Floats) -> Floats:
    """Chances that the answer with the higher score is the better one; below one half where the lengths say more than the scores."""
    side = np.where(margins < 0, -1.0, 1.0)
    return chance.of(side * margins, side * differences)


def _floor(chance: Chance, evidence: FoldEvidence, target_precision: float) -> tuple[float | None, tuple[str, ...]]:
    """The lowest confidence from which on the out-of-fold labels reach the precision; None and why there is none."""
    sure = np.clip(_sureness(chance, evidence.margins, evidence.differences), 0.5, 1 - _LEAST)
    odds = np.maximum(np.log(sure / (1 - sure)), _LEAST)
    return lowest_confidence(np.where(evidence.margins > 0, odds, -odds), target_precision)


def _longer_share(differences: Floats) -> float | None:
    """Share of the seed's pairs of unequal length in which the longer answer is the chosen one; None without such pairs."""
    unequal = differences[differences != 0]
    return float((unequal > 0).mean()) if len(unequal) else None


def _scaled(weight: Floats, kept: Flags) -> Floats:
    """``weight`` with mean 1 over the kept pairs; the others weigh 1."""
    mean = float(weight[kept].mean()) if kept.any() else 0.0
    return np.where(kept, weight / mean, 1.0) if mean > 0 else np.ones(len(weight))
