"""Folds of the seed for cross-fitting: no group of pairs is torn apart."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

CROSS_FIT_BELOW = 200
"""Dev pairs below which the training part of the seed is cross-fitted, so that more pairs choose the threshold."""
FOLDS = 4
"""Of rule calibrated of version 0.1.0."""


def folds_of_groups(groups: Mapping[str, str], count: int, seed: int) -> dict[str, int]:
    """Fold of each pair, 0 to ``count`` - 1, balanced in pairs and independent of the order of the pairs.

    Groups are visited from the largest to the smallest, equal ones in the order of a seeded hash, and each goes to the fold that has the
    fewest pairs. With fewer groups than folds some folds stay empty; the caller sees it by the numbers that are missing.

    Args:
        groups: Group of each pair (`ser_core.data.tables.PairGroup`).
        count: Folds.
        seed: Another seed gives other folds.
    """
    sizes = Counter(groups.values())
    ranked = sorted(sizes, key=lambda name: (-sizes[name], hashlib.sha256(f"{seed}:{name}".encode()).digest()))
    filled = [0] * count
    fold_of: dict[str, int] = {}
    for name in ranked:
        fold = filled.index(min(filled))
        fold_of[name] = fold
        filled[fold] += sizes[name]
    return {pair: fold_of[group] for pair, group in groups.items()}


def folds(ids: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Fold 0 … `FOLDS` - 1 of each id, balanced to one and independent of the order of the ids. Equal ids share a fold.

    Args:
        ids: (pairs,) what must not be torn apart: pair ids, or their prompts.
        seed: Another seed gives other folds.
    """
    ranked = sorted(set(ids), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    fold = {name: rank % FOLDS for rank, name in enumerate(ranked)}
    return np.array([fold[name] for name in ids], dtype=np.int64)
