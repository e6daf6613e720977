"""What chance could have made of a difference: the bootstrap (Efron, 1979) draws groups, not pairs."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ser_core.learn.evaluation.groups.difference import RESAMPLES, PairedDifference
from ser_core.learn.evaluation.groups.randomization import randomization_test
from ser_core.learn.evaluation.groups.table import table_of

_AT_ONCE = 500
_MANY = 500
"""Groups from which on equal ones are drawn together: the same distribution, in less time."""


def difference_of(this: Mapping[str, bool], other: Mapping[str, bool], groups: Mapping[str, str]) -> PairedDifference:
    """How much more often one reward model is right than another, on the pairs that both have.

    Args:
        this: Whether it is right, by pair; at least one of them is in ``other``.
        other: The same of the other model.
        groups: Group of each pair; a pair that is missing is a group of its own.
    """
    return paired_difference(table_of({pair: this[pair] - other[pair] for pair in this.keys() & other.keys()}, groups))


def paired_difference(table: NDArray[np.float64]) -> PairedDifference:
    """The mean difference with its interval, and p of a test of its own: with 20 to 100 groups the share of bootstrap means below 0 is 2 to
    5 times too small far out.

    Args:
        table: (groups, 2) of each group the pairs that one model alone has right minus those of the other, and its pairs.
    """
    low, high = np.quantile(_resampled(table), [0.025, 0.975])
    mean = float(table[:, 0].sum() / table[:, 1].sum())
    return PairedDifference(mean, float(low), float(high), randomization_test(table[:, 0]), len(table))


def _resampled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean differences of `RESAMPLES` draws of groups with replacement."""
    random, number = np.random.default_rng(0), len(table)
    rows, times = np.unique(table, axis=0, return_counts=True) if number > _MANY else (table, np.ones(number))
    drawn = [random.multinomial(number, times / number, size=_AT_ONCE) @ rows for _ in range(RESAMPLES // _AT_ONCE)]
    totals = np.concatenate(drawn)
    return np.asarray(totals[:, 0] / totals[:, 1])
