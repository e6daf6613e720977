"""Which self-labels are trusted: the rules `paper` and `reference`, and `calibrated` as version 0.1.0 had it, with a dev part
(docs/method.md; `confident` has the rule of today). Pure functions of raw logits; numpy alone.

No function here takes a hidden or a held-out label. Rule `calibrated` takes labels of the seed, as calibration margins and one share.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_core.api.spec.loop import Rule, ThresholdsSpec
from ser_core.api.spec.training import AGAINST_DIVERGENCE
from ser_core.api.status import LearningStatus
from ser_core.errors import QualityError
from ser_core.learn.evaluation.calibration import sigmoid
from ser_core.learn.trust import explanation
from ser_core.learn.trust.tails import lowest_reaching, tails
from ser_core.loop.deciding.learning_status import decide

WEIGHT_RANGE = (0.5, 2.0)
"""Bounds of the length-balance weights before they are scaled to mean 1."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a rule makes of the pool. Arrays have shape (pairs,); their meaning is that of `ser_core.data.tables.Decision`."""

    better: NDArray[np.int64]
    confidence: Floats
    status: NDArray[np.int64]
    kept: Flags
    target: Floats
    weight: Floats
    status1: int
    """Pairs that meet Status 1."""
    status2: int
    """Pairs that meet Status 2, whether or not they also meet Status 1."""
    learning_status: LearningStatus
    threshold: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What rule calibrated knows from the labels of the seed, and the lengths that it balances."""

    temperature: float
    """Of the reward model that labelled."""
    margins: Floats
    """(calibration pairs,) in units of the temperature, as in calibration.parquet."""
    longer: NDArray[np.int64]
    """(pairs,) +1 where answer 1 is the longer one, -1 where answer 2 is, 0 where they are equal."""
    seed_longer_share: float | None
    """Share of the seed's pairs of unequal length in which the longer answer is the chosen one; None without such pairs."""


def paper(score_1: Floats, score_2: Floats, thresholds: ThresholdsSpec) -> Selection:
    """Rule paper (arXiv 2411.00418, Eq. 3 and 4): the pairs of the first status that has minSamples of them.

    Args:
        score_1: (pairs,) raw logits of the first answers.
        score_2: (pairs,) raw logits of the second answers.
        thresholds: high, low, delta and minSamples are used.

    Raises:
        QualityError: Scores are not finite.
    """
    require_finite(score_1, score_2)
    p1, p2 = sigmoid(score_1), sigmoid(score_2)
    first = _meets_status_1(p1, p2, thresholds)
    second = (np.abs(p1 - p2) >= thresholds.delta) & (score_1 != score_2)
    counts = int(first.sum()), int(second.sum())
    learning = decide(Rule.PAPER, *counts, kept=0, min_samples=thresholds.min_samples, minimum=1)
    kept, notes = np.zeros_like(first), tuple[str, ...]()
    if learning is LearningStatus.STOP:
        notes = explanation.too_few_samples(*counts, len(p1), thresholds) + explanation.unmet(p1, p2, *counts, thresholds)
    else:
        kept = first if learning is LearningStatus.STATUS_1 else second
    return _hard_labels(score_1, score_2, first, second, kept, learning, notes)


def reference(score_1: Floats, score_2: Floats, thresholds: ThresholdsSpec) -> Selection:
    """Rule reference (the paper's released code): the union of both statuses, here with a gap strictly above delta.

    Args:
        score_1: (pairs,) raw logits of the first answers.
        score_2: (pairs,) raw logits of the second answers.
        thresholds: high, low and delta are used.

    Raises:
        QualityError: Scores are not finite.
    """
    require_finite(score_1, score_2)
    p1, p2 = sigmoid(score_1), sigmoid(score_2)
    first = _meets_status_1(p1, p2, thresholds)
    second = (np.abs(p1 - p2) > thresholds.delta) & (score_1 != score_2)
    kept = first | second
    counts = int(first.sum()), int(second.sum())
    learning = decide(Rule.REFERENCE, *counts, kept=int(kept.sum()), min_samples=thresholds.min_samples, minimum=1)
    notes = explanation.unmet(p1, p2, *counts, thresholds) if learning is LearningStatus.STOP else ()
    return _hard_labels(score_1, score_2, first, second, kept, learning, notes)


def calibrated(score_1: Floats, score_2: Floats, thresholds: ThresholdsSpec, evidence: Evidence, minimum: int) -> Selection:
    """Rule calibrated of version 0.1.0: the pairs at or above the threshold: the lowest confidence whose precision on the calibration
    pairs reaches targetPrecision.

    Args:
        score_1: (pairs,) raw logits of the first answers.
        score_2: (pairs,) raw logits of the second answers.
        thresholds: targetPrecision decides; high, low and delta only count the statuses, on scores centred on their mean.
        evidence: What the seed tells.
        minimum: Fewest pairs that are worth an optimizer step.

    Raises:
        QualityError: Scores or margins are not finite, or there are no margins.
    """
    require_finite(score_1, score_2)
    assert thresholds.target_precision is not None, "a spec without a target precision asks for folds (LoopSpec.fold_count)"
    better = better_answer(score_1, score_2)
    confidence = sigmoid(np.abs(score_1 - score_2) / evidence.temperature)
    threshold, notes = lowest_confidence(evidence.margins, thresholds.target_precision)
    confident = (confidence >= (np.inf if threshold is None else threshold)) & (score_1 != score_2)
    first, second = centred_statuses(score_1, score_2, thresholds)
    counts = int(first.sum()), int(second.sum())
    learning = decide(Rule.CALIBRATED, *counts, kept=int(confident.sum()), min_samples=thresholds.min_samples, minimum=minimum)
    kept = np.zeros_like(confident) if learning is LearningStatus.STOP else confident
    if threshold is not None:
        notes += explanation.less_than_a_step(confidence, int(confident.sum()), threshold, minimum)
    return Selection(
        better=better,
        confidence=confidence,
        status=highest_status(first, second),
        kept=kept,
        target=confidence,
        weight=length_balance(np.where(better == 1, evidence.longer, -evidence.longer), kept, evidence.seed_longer_share),
        status1=counts[0],
        status2=counts[1],
        learning_status=learning,
        threshold=threshold,
        notes=notes,
    )


def length_balance(longer_wins: NDArray[np.int64], kept: Flags, share: float | None) -> Floats:
    """Weights that give "the longer answer wins" the same share among the kept pairs as it has in the seed.

    Kept pairs in which the longer answer wins weigh share / observed share, those in which the shorter one wins
    (1 - share) / (1 - observed share), both clipped to `WEIGHT_RANGE`, and pairs of equal length 1; then all are scaled to mean 1.
    Where the longer or the shorter answer always wins there is nothing to balance.

    Args:
        longer_wins: (pairs,) +1 where the self-labelled winner is the longer answer, -1 where it is the shorter, 0 where they are equal.
        kept: (pairs,) the others weigh 1.
        share: The seed's share among its pairs of unequal length; None: unknown.
    """
    weight = np.ones(len(kept))
    longer, shorter = kept & (longer_wins > 0), kept & (longer_wins < 0)
    if share is None or not longer.any() or not shorter.any():
        return weight
    observed = longer.sum() / (longer.sum() + shorter.sum())
    weight[longer] = np.clip(share / observed, *WEIGHT_RANGE)
    weight[shorter] = np.clip((1 - share) / (1 - observed), *WEIGHT_RANGE)
    weight[kept] /= weight[kept].mean()
    return weight


def lowest_confidence(margins: Floats, target_precision: float) -> tuple[float | None, tuple[str, ...]]:
    """The lowest confidence to keep, and what it rests on; None and why there is none."""
    candidates = tails(margins)
    tail = lowest_reaching(candidates, target_precision)
    if tail is None:
        return None, (explanation.no_threshold(candidates, len(margins), target_precision),)
    return tail.confidence, explanation.uncertain(tail, target_precision)


def _hard_labels(
    score_1: Floats,
    score_2: Floats,
    first: Flags,
    second: Flags,
    kept: Flags,
    learning: LearningStatus,
    notes: tuple[str, ...],
) -> Selection:
    """The selection of a rule that trains on hard labels with equal weights."""
    ones = np.ones(len(kept))
    return Selection(
        better=better_answer(score_1, score_2),
        confidence=gap_confidence(score_1, score_2),
        status=highest_status(first, second),
        kept=kept,
        target=ones,
        weight=ones,
        status1=int(first.sum()),
        status2=int(second.sum()),
        learning_status=learning,
        threshold=None,
        notes=notes,
    )


def gap_confidence(score_1: Floats, score_2: Floats) -> Floats:
    """What rules paper and reference report as confidence: (1 + |p1 - p2|) / 2."""
    confidence: Floats = 0.5 + np.abs(sigmoid(score_1) - sigmoid(score_2)) / 2
    return confidence


def better_answer(score_1: Floats, score_2: Floats) -> NDArray[np.int64]:
    """The winner. A tie is called 1, and no rule keeps it."""
    return np.where(score_1 >= score_2, 1, 2).astype(np.int64)


def _meets_status_1(p1: Floats, p2: Floats, thresholds: ThresholdsSpec) -> Flags:
    return (np.maximum(p1, p2) > thresholds.high) & (np.minimum(p1, p2) < thresholds.low)


def centred_statuses(score_1: Floats, score_2: Floats, thresholds: ThresholdsSpec) -> tuple[Flags, Flags]:
    """Only score differences are learnt, so the zero point is free: the mean score takes its place."""
    middle = float(np.concatenate((score_1, score_2)).mean()) if len(score_1) else 0.0
    p1, p2 = sigmoid(score_1 - middle), sigmoid(score_2 - middle)
    return _meets_status_1(p1, p2, thresholds), (np.abs(p1 - p2) >= thresholds.delta) & (score_1 != score_2)


def highest_status(first: Flags, second: Flags) -> NDArray[np.int64]:
    """(pairs,) the status that each pair meets; 0: none."""
    return np.where(first, 1, np.where(second, 2, 0)).astype(np.int64)


def require_finite(score_1: Floats, score_2: Floats) -> None:
    """Refuse scores that are not finite."""
    bad = int(np.count_nonzero(~(np.isfinite(score_1) & np.isfinite(score_2))))
    if bad:
        raise QualityError(
            f"{bad} of {len(score_1)} labelled pairs have scores that are not finite",
            reason="NonFiniteScores",
            hint=AGAINST_DIVERGENCE,
        )
