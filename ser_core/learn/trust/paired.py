"""One reward model against another on the same out-of-fold pairs. Numpy alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class PairedLoss:
    """How much lower the log loss of the second model is, pair by pair."""

    gain: float
    """Mean, in nats; above zero: the second is better."""
    error: float
    """Standard error; groups of pairs count as one, since their pairs go wrong together."""
    groups: int

    @property
    def worse_beyond_chance(self) -> bool:
        """Below minus one standard error."""
        return self.gain < -self.error


def paired_loss(before: Mapping[str, float], after: Mapping[str, float], groups: Mapping[str, str]) -> PairedLoss:
    """Compare the log losses of two models on the pairs that both have.

    Args:
        before: Log loss of the first model by pair, in nats, each by a model that never saw the pair.
        after: The same of the second.
        groups: Group of each pair; a pair that is missing is a group of its own.
    """
    sums: dict[str, list[float]] = {}
    for pair in sorted(before.keys() & after.keys()):
        row = sums.setdefault(groups.get(pair, pair), [0.0, 0.0])
        row[0] += before[pair] - after[pair]
        row[1] += 1
    table = np.array(list(sums.values())).reshape(-1, 2)
    if not len(table):
        return PairedLoss(0.0, 0.0, 0)
    count = table[:, 1].sum()
    gain = float(table[:, 0].sum() / count)
    residuals = table[:, 0] - gain * table[:, 1]
    corrected = len(table) / max(1, len(table) - 1)
    return PairedLoss(gain, float(np.sqrt(corrected * np.sum(residuals**2)) / count), len(table))
