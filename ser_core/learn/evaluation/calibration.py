"""How far a reward model's confidence can be trusted: the temperature, cross-fitting folds and the precision threshold. Numpy alone.

Only labels of the seed come in here. ``margin`` is always the score of the chosen answer minus that of the rejected one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_core.errors import QualityError

CROSS_FIT_BELOW = 200
"""Dev pairs below which the training part of the seed is cross-fitted, so that more pairs choose the threshold."""
FOLDS = 4
MIN_TAIL = 20
"""Fewest calibration pairs that a threshold may rest on: below, a precision of 0.9 is within reach of luck."""
HESITANT = 0.5
"""A seed model below this temperature has learnt too little."""
ENOUGH_TO_SAY = 50
"""Pairs below which a temperature says nothing of that."""

_TEMPERATURE_RANGE = 100.0
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Tail:
    """The calibration pairs at or above one confidence, and how many of them the reward model gets right."""

    confidence: float
    pairs: int
    right: int

    @property
    def precision(self) -> float:
        """Share of the pairs that are right."""
        return self.right / self.pairs


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic function that overflows nowhere."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)


def fit_temperature(margins: NDArray[np.float64]) -> float:
    """Temperature T at which ``sigmoid(margin / T)`` is a probability (temperature scaling, arXiv 1706.04599).

    Minimises the mean of -log sigmoid(margin / T), which is convex in 1 / T. The labels are smoothed as in Platt's sigmoid fit (1999): of n
    pairs each counts as right with weight (n + 1) / (n + 2), so that T stays above zero when all pairs are right; the effect fades with n.
    T lies within a factor of 100 of the mean absolute margin; a model no better than chance gets the upper end, that is confidences of
    about one half. Multiplying all margins multiplies T. All margins zero: 1.

    Args:
        margins: (pairs,) raw logit differences.

    Raises:
        QualityError: There are no margins, or some are not finite.
    """
    _require_usable(margins)
    scale = float(np.mean(np.abs(margins)))
    if scale == 0.0:
        return 1.0
    scaled = margins / scale
    target = (len(margins) + 1) / (len(margins) + 2)
    low, high = -np.log(_TEMPERATURE_RANGE), np.log(_TEMPERATURE_RANGE)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        slope = float(np.mean(scaled * (sigmoid(scaled * np.exp(middle)) - target)))
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(scale / np.exp((low + high) / 2))


def learnt_too_little(temperature: float, pairs: int) -> tuple[str, ...]:
    """A note where margins are so small that the training has hardly begun: the answers are told apart far better than they are scored
    apart. Of few pairs nothing is said.
    """
    if temperature >= HESITANT or pairs < ENOUGH_TO_SAY:
        return ()
    factor = f"{1 / temperature:.2g}"
    return (
        f"its margins are {factor} times too small for how often they are right (temperature {temperature:.2g}): it has learnt too little; "
        "raise training.epochs or training.learningRate, or let training.search try several",
    )


def folds(ids: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Fold 0 … `FOLDS` - 1 of each id, balanced to one and independent of the order of the ids. Equal ids share a fold.

    Args:
        ids: (pairs,) what must not be torn apart: pair ids, or their prompts.
        seed: Another seed gives other folds.
    """
    ranked = sorted(set(ids), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    fold = {name: rank % FOLDS for rank, name in enumerate(ranked)}
    return np.array([fold[name] for name in ids], dtype=np.int64)


def tails(margins: NDArray[np.float64]) -> tuple[Tail, ...]:
    """Every tail of at least `MIN_TAIL` pairs, from the most confident on. Pairs of equal confidence come in together.

    Args:
        margins: (pairs,) margins in units of the temperature, as in calibration.parquet.

    Raises:
        QualityError: There are no margins, or some are not finite.
    """
    _require_usable(margins)
    confidence = sigmoid(np.abs(margins))
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    right = np.cumsum(margins[order] > 0)
    last_of_equals = np.append(falling[1:] < falling[:-1], True)
    ends = np.flatnonzero(last_of_equals & (np.arange(len(order)) + 1 >= MIN_TAIL))
    return tuple(Tail(float(falling[end]), int(end) + 1, int(right[end])) for end in ends)


def lowest_reaching(candidates: Sequence[Tail], precision: float) -> Tail | None:
    """The widest tail that as a whole is right at ``precision``; None: there is none.

    Narrower tails may lie below it: with few pairs that is noise, and the kept pairs are the tail as a whole. So the choice is
    monotone: a higher precision never gives a wider tail.
    """
    return next((tail for tail in reversed(candidates) if tail.precision >= precision), None)


def _require_usable(margins: NDArray[np.float64]) -> None:
    bad = int(np.count_nonzero(~np.isfinite(margins)))
    if bad:
        raise QualityError(
            f"{bad} of {len(margins)} score differences are not finite",
            reason="NonFiniteScores",
            hint="lower training.learningRate, or set rewardModel.precision to fp32",
        )
    if not len(margins):
        raise QualityError(
            "there is no pair to calibrate on", reason="NoCalibrationPairs", hint="raise data.devFraction or give more seed pairs"
        )
