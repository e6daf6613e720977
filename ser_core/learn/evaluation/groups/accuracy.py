"""The interval of an accuracy: Wilson's, of as many independent pairs as the groups of pairs are worth."""

import numpy as np
from numpy.typing import NDArray

from ser_core.learn.evaluation.groups.student import half_width
from ser_core.loop.deciding.significance import Z95


def accuracy_interval(table: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the share of pairs that are right. Where each pair is a group of its own, this is `wilson`.

    Args:
        table: (groups, 2) right pairs and pairs of each group; at least one.
    """
    right, pairs = table.sum(axis=0)
    effective = effective_pairs(table)
    return wilson(right * (effective / pairs), effective)


def effective_pairs(table: NDArray[np.float64]) -> float:
    """How many independent pairs tell as much about the accuracy as these, which come in groups (Korn and Graubard, 1998).

    The number of pairs over the design effect (Kish, 1965): by how much the variance of the accuracy is larger than that of independent
    pairs, both estimated from the pairs. It is then lowered to where Wilson's interval is as wide as Student's t asks for so few groups.
    More than the number of pairs it never is. Where the groups do not differ because all pairs are right, or wrong, or in one group, each
    group counts once.

    Args:
        table: (groups, 2) right pairs and pairs of each group.
    """
    count, (right, pairs) = len(table), table.sum(axis=0)
    if count == pairs:
        return float(pairs)
    if count == 1 or right in (0, pairs):
        return float(count)
    share = right / pairs
    of_groups = count / (count - 1) * np.sum((table[:, 0] - share * table[:, 1]) ** 2)
    of_pairs = pairs / (pairs - 1) * pairs * share * (1 - share)
    few = half_width(count - 1) / half_width(int(pairs) - 1)
    return float(pairs / (max(1.0, of_groups / of_pairs) * few**2))


def wilson(right: float, pairs: float) -> tuple[float, float]:
    """95 % interval of a share by Wilson (1927), of independent pairs. It stays within 0 … 1 and is honest for few pairs."""
    share = right / pairs
    spread = 1 + Z95**2 / pairs
    centre = (share + Z95**2 / (2 * pairs)) / spread
    half = Z95 * np.sqrt(share * (1 - share) / pairs + Z95**2 / (4 * pairs**2)) / spread
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
