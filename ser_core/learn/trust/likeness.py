"""Whether the pool looks like the seed to models that have seen neither pair. Pure; numpy alone.

The two-sample test of Kolmogorov and Smirnov, with its asymptotic bound. No label of the pool comes in. It finds a pool that is easier or
harder, or of other lengths; it cannot find one that only has other labels.
"""

import numpy as np

from ser_core.learn.trust.confident import FoldEvidence
from ser_core.learn.trust.selection import Floats

ONCE_IN_A_THOUSAND = 1.95
"""Distance beyond which chance alone goes once in a thousand, in units of the square root of (n + m) / (n m)."""
LEAST = 20
"""Fewest pairs, or prompts, on either side: with fewer only a caricature of the seed would be noticed."""
PROMPTS_APART = 0.5
"""Prompts of one topic are of like lengths, so that the test of single ones tells too much: of 200 splits of documentation pairs by module
25 to 43 lay beyond its bound, and none of 1,000 beyond this distance."""


def unlike(evidence: FoldEvidence, seed_prompts: Floats, pool_prompts: Floats) -> tuple[str, ...]:
    """In what the pool differs from the seed's unseen pairs, as sentences with numbers; empty: chance explains all.

    Only in the first loop: from then on the fold models have learnt pairs of the pool, whose scores lie apart for that reason.

    Args:
        evidence: Each pool pair is compared as one fold model scores it, in turn, since the mean of all is less noisy than one.
        seed_prompts: (prompts,) characters of each prompt of the seed; of one that several pairs share once.
        pool_prompts: (prompts,) those of the pool.
    """
    folds, pairs = evidence.folds.shape
    if not folds:
        return ()
    one_each = evidence.folds[np.arange(pairs) % folds, np.arange(pairs)]
    told = (
        _told("the two scores of a pair lie", "logits apart", np.abs(evidence.margins), np.abs(one_each)),
        _told("the logarithms of the two lengths lie", "apart", np.abs(evidence.differences), np.abs(evidence.pool_differences)),
        _told("prompts are", "characters long", seed_prompts, pool_prompts, PROMPTS_APART),
    )
    return tuple(filter(None, told))


def distance(one: Floats, other: Floats) -> float:
    """Largest difference of the two distribution functions; (n,) and (m,) numbers."""
    places = np.concatenate((one, other))
    below = [np.searchsorted(np.sort(values), places, side="right") / len(values) for values in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _told(what: str, unit: str, seed: Floats, pool: Floats, least: float = 0.0) -> str:
    if min(len(seed), len(pool)) < LEAST:
        return ""
    found = distance(seed, pool)
    bound = max(least, ONCE_IN_A_THOUSAND * float(np.sqrt((len(seed) + len(pool)) / (len(seed) * len(pool)))))
    if found <= bound:
        return ""
    return (
        f"the pool is unlike the seed: {what} {np.median(seed):,.2f} {unit} there and {np.median(pool):,.2f} here (medians; distance "
        f"{found:.2f}, by chance below {bound:.2f}), so out-of-fold numbers may not hold: label some of it (ser suggest)"
    )
