"""Folds of the seed for cross-fitting: no group of pairs is torn apart."""

import hashlib
from collections import Counter
from collections.abc import Mapping


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
