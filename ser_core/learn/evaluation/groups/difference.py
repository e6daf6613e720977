"""The difference of two reward models in accuracy, on the same pairs."""

from dataclasses import dataclass

from ser_core.loop.deciding.significance import SIGNIFICANT

RESAMPLES = 10_000
"""Draws of the bootstrap."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """One reward model's accuracy minus the other's."""

    mean: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    p_value: float
    """Two-sided, by the randomization test: the signs of the groups' differences are flipped in all ways."""
    groups: int

    @property
    def significant(self) -> bool:
        """Whether chance alone would rarely give such a difference (5 %)."""
        return self.p_value < SIGNIFICANT
