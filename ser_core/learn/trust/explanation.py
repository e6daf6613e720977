"""Why a rule kept nothing, or what its choice rests on: sentences with the numbers and the remedy. Numpy alone; nothing is decided here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_core.api.spec.loop import ThresholdsSpec
from ser_core.learn.evaluation.groups.accuracy import wilson
from ser_core.learn.trust.tails import MIN_TAIL, Tail
from ser_core.loop.deciding.learning_status import SO_THAT_SCORES_DIFFER

_EQUAL = 0.0005
"""Difference of two probabilities that three decimals do not show: of random weights it is larger, so a training has destroyed them."""
_MORE_TRAINING = "train the seed longer or at a higher rate"


def too_few_samples(status1: int, status2: int, pairs: int, thresholds: ThresholdsSpec) -> tuple[str, ...]:
    """Rule paper stopped: neither status has minSamples pairs."""
    counts = f"{status1} pairs meet Status 1 and {status2} Status 2, both below minSamples {thresholds.min_samples}"
    if thresholds.min_samples <= pairs:
        return (counts,)
    return (counts, f"minSamples {thresholds.min_samples} is more than the {pairs} labelled pairs: scale it with the pool")


def unmet(p1: NDArray[np.float64], p2: NDArray[np.float64], status1: int, status2: int, thresholds: ThresholdsSpec) -> tuple[str, ...]:
    """Which of the two statuses no pair meets, by how much.

    Args:
        p1: (pairs,) probabilities of the first answers.
        p2: (pairs,) probabilities of the second answers.
        status1: Pairs that meet Status 1.
        status2: Pairs that meet Status 2.
        thresholds: high, low and delta.
    """
    if not len(p1):
        return ("there is no labelled pair to choose from",)
    notes: tuple[str, ...] = ()
    if not status2:
        largest = float(np.abs(p1 - p2).max())
        remedy = f"{_MORE_TRAINING}, or use rule calibrated" if largest >= _EQUAL else SO_THAT_SCORES_DIFFER
        notes += (f"largest |p1 - p2| is {largest:.3f}, below delta {thresholds.delta:.2f}: the scores are too close together; {remedy}",)
    if not status1:
        lowest, highest = min(p1.min(), p2.min()), max(p1.max(), p2.max())
        notes += (
            f"no pair has one answer above high {thresholds.high:.2f} and the other below low {thresholds.low:.2f}: "
            f"the probabilities lie between {lowest:.3f} and {highest:.3f}",
        )
    return notes


def no_threshold(candidates: Sequence[Tail], calibration_pairs: int, target_precision: float) -> str:
    """Rule calibrated found no threshold."""
    if not candidates:
        return f"{calibration_pairs} calibration pairs are fewer than the {MIN_TAIL} that a threshold must rest on: give more seed pairs"
    best = max(candidates, key=lambda tail: tail.precision)
    return (
        f"no confidence reaches targetPrecision {target_precision:g} on {calibration_pairs} calibration pairs: the best is "
        f"{best.precision:.3f} from confidence {best.confidence:.3f} on ({best.pairs} pairs); "
        f"{_MORE_TRAINING}, give more seed pairs or lower targetPrecision"
    )


def uncertain(tail: Tail, target_precision: float) -> tuple[str, ...]:
    """The threshold's precision might, by its 95 % interval, miss the target."""
    low, high = wilson(tail.right, tail.pairs)
    if low >= target_precision:
        return ()
    return (
        f"not significant: {tail.right} of {tail.pairs} calibration pairs are right from threshold {tail.confidence:.3f} on; "
        f"the 95 % interval {low:.3f} to {high:.3f} begins below targetPrecision {target_precision:g}",
    )


def less_than_a_step(confidence: NDArray[np.float64], confident: int, threshold: float, minimum: int) -> tuple[str, ...]:
    """Too few pairs reach the threshold for one optimizer step.

    Args:
        confidence: (pairs,) of the pool.
        confident: Pairs that reach the threshold.
        threshold: Lowest confidence that is kept.
        minimum: Pairs of one optimizer step.
    """
    if confident >= minimum:
        return ()
    highest = f", the highest confidence is {confidence.max():.3f}" if len(confidence) else ""
    return (
        f"{confident} of {len(confidence)} pairs reach threshold {threshold:.3f}{highest}: fewer than one optimizer step "
        f"(training.pairsPerStep {minimum})",
    )
