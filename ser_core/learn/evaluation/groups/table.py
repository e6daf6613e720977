"""Pairs by the group that they are in."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def table_of(values: Mapping[str, float], groups: Mapping[str, str]) -> NDArray[np.float64]:
    """(groups, 2): the sum of the values of each group, and its number of pairs; in the order of the groups' names.

    Args:
        values: One for each pair, by id.
        groups: Group of each pair; a pair that is missing is a group of its own.
    """
    sums: dict[str, list[float]] = {}
    for pair, value in values.items():
        row = sums.setdefault(groups.get(pair, pair), [0.0, 0.0])
        row[0] += value
        row[1] += 1
    return np.array([sums[name] for name in sorted(sums)]).reshape(-1, 2)
