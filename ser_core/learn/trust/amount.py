"""How many of the most confident self-labels to keep. Three ways, to be compared (docs/method.md); numpy alone."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENT_SHARE = 0.6
SHARES = (0.0, 0.3, 0.6, 1.0)


def confident_share(pool: int, share: float = CONFIDENT_SHARE) -> int:
    """That share of the pool, rounded to whole pairs."""
    return round(share * pool)


def most_informative(seed: int, chances: Floats) -> int:
    """The number m of most confident self-labels that maximises (n + sum(2 p - 1))^2 / (n + m).

    n right labels and m labels that are right with chance p tell as much about a mean as that many right ones: a label that is right with
    chance p moves it by 2 p - 1, and all of them add noise alike.

    Args:
        seed: n, the pairs with human labels.
        chances: (pairs,) that each self-label is right, 0.5 to 1, in any order.
    """
    falling = np.sort(chances)[::-1]
    gain = seed + np.concatenate(([0.0], np.cumsum(2 * falling - 1)))
    return int(np.argmax(gain**2 / (seed + np.arange(len(falling) + 1))))


def best_share(log_losses: Floats) -> int:
    """Index of the share to keep: the smallest one whose cross-fitted log loss is within one standard error of the best.

    Args:
        log_losses: (shares, folds) mean log loss of each fold's held-back pairs, after training with that share; `SHARES` in rising order.
    """
    means = log_losses.mean(axis=1)
    best = int(np.argmin(means))
    paired = log_losses - log_losses[best]
    errors = paired.std(axis=1, ddof=1) / np.sqrt(log_losses.shape[1])
    return int(np.flatnonzero(paired.mean(axis=1) <= errors)[0])
