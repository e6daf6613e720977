"""Whether a trained reward model has fallen apart, by comparison with its fold models. Pure; numpy alone.

Every label trains the reward model, so no held-back pair of its own shows a training that went wrong. Two things do: it must get the pairs
that it has learnt right at least as often as the fold models get them right unseen, and agree with these on the pool, without labels, at
least as often as they agree with each other.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ERRORS = 3.0
"""Standard errors below what is expected from which on a model counts as collapsed: chance alone does that in one of 700 cases."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A reward model beside its fold models.

    Attributes:
        seen: (seed pairs,) its score of the chosen answer minus that of the rejected one; it has learnt these pairs.
        unseen: (seed pairs,) the same by the fold model that has not learnt the pair.
        pool: (pairs,) its score of answer 1 minus that of answer 2, for some pairs of the pool.
        folds: (folds, pairs) the same by each fold model.
    """

    seen: Floats
    unseen: Floats
    pool: Floats
    folds: Floats


def why_collapsed(fit: Fit) -> str:
    """What is wrong with a reward model; empty: nothing."""
    seen, unseen = float((fit.seen > 0).mean()), float((fit.unseen > 0).mean())
    if seen < unseen - ERRORS * _error(unseen, len(fit.seen)):
        learnt = f"{seen:.3f} of the {len(fit.seen)} labelled pairs that it has learnt"
        return f"it is right on {learnt}, and the fold models unseen on {unseen:.3f}"
    if not len(fit.pool) or len(fit.folds) < 2:
        return ""
    signs = np.sign(fit.folds)
    agreement = float(np.mean(signs == np.sign(fit.pool)))
    among = float(np.mean([np.mean(signs[one] == signs[other]) for one, other in combinations(range(len(signs)), 2)]))
    if agreement < among - ERRORS * _error(among, len(fit.pool)):
        shared = f"{agreement:.3f} of {len(fit.pool)} pairs of the pool"
        return f"it agrees with the fold models on {shared}, and these with each other on {among:.3f}"
    return ""


def _error(share: float, pairs: int) -> float:
    return float(np.sqrt(share * (1 - share) / max(1, pairs)))
