"""The chance that a reward model names the better answer, from its margin and from the two lengths. Numpy alone.

Platt's sigmoid fit (1999) without a constant, since which answer comes first means nothing, and with the length as a second number: reward
models like long answers (arXiv 2310.03716), and a calibration that does not know it trusts long winners too much.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_core.api.spec.training import AGAINST_DIVERGENCE
from ser_core.errors import QualityError
from ser_core.learn.evaluation.calibration import sigmoid

Floats = NDArray[np.float64]

LENGTH_PRIOR = 10.0
"""Strength of the belief that the length adds nothing beyond the margin, in mean squared differences. That is 40 pairs or more: a pair's
own curvature is at most a quarter of its squared difference."""
_LARGEST_SLOPE = 100.0
_NEWTON_STEPS = 100


@dataclass(frozen=True, slots=True)
class Chance:
    """``sigmoid(slope * margin + length * difference)`` is the chance that the answer with the positive margin is the better one."""

    slope: float
    """For each logit of margin; above zero."""
    length: float
    """For each unit of log(tokens of the one) - log(tokens of the other). Negative: a long winner is less certain than its margin says."""

    def of(self, margins: Floats, differences: Floats) -> Floats:
        """(pairs,) chances that the first answer is the better one.

        Args:
            margins: (pairs,) score of the first answer minus that of the second, raw logits.
            differences: (pairs,) log tokens of the first answer minus those of the second.
        """
        return sigmoid(self.slope * margins + self.length * differences)


def fit_chance(margins: Floats, differences: Floats) -> Chance:
    """Fit on pairs whose better answer is known, and that the model was not trained on.

    As in `fit_temperature`, each of n pairs counts as right with weight (n + 1) / (n + 2), so that the slope stays finite where all are
    right. A model no better than chance gets a slope near zero, never below.

    Args:
        margins: (pairs,) score of the better answer minus that of the worse, raw logits.
        differences: (pairs,) log tokens of the better answer minus those of the worse.

    Raises:
        QualityError: There are no pairs, or some numbers are not finite.
    """
    _require_usable(margins, differences)
    scale = float(np.mean(np.abs(margins))) or 1.0
    columns = np.stack([margins / scale, differences], axis=1)
    target = (len(margins) + 1) / (len(margins) + 2)
    spread = float(np.mean(differences**2)) or 1.0
    prior = np.diag([0.0, LENGTH_PRIOR * spread])
    found = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(columns @ found)
        gradient = columns.T @ (p - target) + prior @ found
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + prior + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        found = found - np.clip(step, -1.0, 1.0)
        if np.max(np.abs(step)) < 1e-10:
            break
    slope = float(np.clip(found[0], 1 / _LARGEST_SLOPE, _LARGEST_SLOPE)) / scale
    return Chance(slope, float(found[1]))


def _require_usable(margins: Floats, differences: Floats) -> None:
    bad = int(np.count_nonzero(~(np.isfinite(margins) & np.isfinite(differences))))
    if bad or not len(margins):
        raise QualityError(
            f"{bad} of {len(margins)} calibration pairs have numbers that are not finite" if bad else "there is no pair to calibrate on",
            reason="NonFiniteScores" if bad else "NoCalibrationPairs",
            hint=AGAINST_DIVERGENCE if bad else "give more seed pairs",
        )
