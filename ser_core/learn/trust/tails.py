"""How often the most confident labels are right: what a threshold of rule calibrated of version 0.1.0 rests on. Numpy alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_core.learn.evaluation.calibration import require_usable, sigmoid

MIN_TAIL = 20
"""Fewest calibration pairs that a threshold may rest on: below, a precision of 0.9 is within reach of luck."""


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


def tails(margins: NDArray[np.float64]) -> tuple[Tail, ...]:
    """Every tail of at least `MIN_TAIL` pairs, from the most confident on. Pairs of equal confidence come in together.

    Args:
        margins: (pairs,) margins in units of the temperature, as in calibration.parquet.

    Raises:
        QualityError: There are no margins, or some are not finite.
    """
    require_usable(margins)
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
