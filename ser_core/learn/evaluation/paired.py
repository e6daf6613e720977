"""One reward model against another on the same out-of-fold pairs. Numpy alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ser_core.data.tables import EvaluatedPair
from ser_core.learn.evaluation.calibration import fitted_losses
from ser_core.learn.evaluation.groups.student import half_width
from ser_core.learn.evaluation.groups.table import table_of
from ser_core.learn.evaluation.margins import margins_of
from ser_core.loop.deciding.significance import Z95


@dataclass(frozen=True, slots=True)
class PairedLoss:
    """How much lower the log loss of the second model is, pair by pair."""

    gain: float
    """Mean, in nats; above zero: the second is better."""
    error: float
    """Standard error; groups of pairs count as one, since their pairs go wrong together. Of few groups it is itself hardly known, so it is
    widened until ± 1.96 of it are the 95 % interval of Student's t: 6.5 times for two groups, 1.03 times for 40."""
    groups: int


def log_losses(pairs: Sequence[EvaluatedPair]) -> dict[str, float]:
    """Log loss of each pair in nats, by id, at the temperature that fits the pairs best.

    Raises:
        QualityError: There are no pairs, or some scores are not finite.
    """
    return dict(zip([pair.id for pair in pairs], fitted_losses(margins_of(pairs)).tolist(), strict=True))


def paired_loss(before: Mapping[str, float], after: Mapping[str, float], groups: Mapping[str, str]) -> PairedLoss:
    """Compare the log losses of two models on the pairs that both have.

    Args:
        before: Log loss of the first model by pair, in nats, each by a model that never saw the pair.
        after: The same of the second.
        groups: Group of each pair; a pair that is missing is a group of its own.
    """
    table = table_of({pair: before[pair] - after[pair] for pair in sorted(before.keys() & after.keys())}, groups)
    if not len(table):
        return PairedLoss(0.0, 0.0, 0)
    count = table[:, 1].sum()
    gain = float(table[:, 0].sum() / count)
    residuals = table[:, 0] - gain * table[:, 1]
    corrected = len(table) / max(1, len(table) - 1)
    error = float(np.sqrt(corrected * np.sum(residuals**2)) / count)
    return PairedLoss(gain, error * half_width(len(table) - 1) / Z95, len(table))
