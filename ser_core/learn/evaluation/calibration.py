"""How far a reward model's confidence can be trusted: the temperature. Numpy alone.

Only labels of the seed come in here. ``margin`` is always the score of the chosen answer minus that of the rejected one.
"""

import numpy as np
from numpy.typing import NDArray

from ser_core.api.spec.training import AGAINST_DIVERGENCE
from ser_core.errors import QualityError

HESITANT = 0.5
"""A seed model below this temperature has learnt too little."""
ENOUGH_TO_SAY = 50
"""Pairs below which a temperature says nothing of that."""

_TEMPERATURE_RANGE = 100.0
_HALVINGS = 60


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
    require_usable(margins)
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


def fitted_losses(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """(pairs,) log loss in nats, at the temperature that fits the margins best. Raises as `fit_temperature`."""
    losses: NDArray[np.float64] = np.logaddexp(0.0, -margins / fit_temperature(margins))
    return losses


def learnt_too_little(temperature: float, pairs: int, *, searched: bool) -> tuple[str, ...]:
    """A note where margins are so small that the training has hardly begun: the answers are told apart far better than they are scored
    apart. Of few pairs nothing is said. ``searched``: whether `training.search` has chosen among several settings.
    """
    if temperature >= HESITANT or pairs < ENOUGH_TO_SAY:
        return ()
    factor = f"{1 / temperature:.2g}"
    more = "raise training.epochs or training.learningRate, or let training.search try several"
    return (
        f"its margins are {factor} times too small for how often they are right (temperature {temperature:.2g}): it has learnt too little; "
        f"{'let training.search try more epochs and higher learningRates' if searched else more}",
    )


def require_usable(margins: NDArray[np.float64]) -> None:
    """Raise `QualityError` when there are no margins, or some are not finite."""
    bad = int(np.count_nonzero(~np.isfinite(margins)))
    if bad:
        raise QualityError(
            f"{bad} of {len(margins)} score differences are not finite",
            reason="NonFiniteScores",
            hint=AGAINST_DIVERGENCE,
        )
    if not len(margins):
        raise QualityError(
            "there is no pair to calibrate on", reason="NoCalibrationPairs", hint="raise data.devFraction or give more seed pairs"
        )
