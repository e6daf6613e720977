"""Which pairs of the pool a person should label next: where the models are least sure, spread over the prompts. Pure; numpy alone.

Uncertainty sampling (Lewis and Gale 1994) with the disagreement of a committee (Seung et al. 1992), and for the spread a greedy choice that
marks down what resembles the pairs chosen before (maximal marginal relevance, Carbonell and Goldstein 1998). No label comes in.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_core.learn.trust.selection import Flags, Floats
from ser_core.learn.trust.shared_words import Words

LOOKED_AT = 10
"""So many of the most useful pairs, for each one wanted, are compared with each other."""


def usefulness(confidence: Floats, agreement: Floats | None, apart: Flags) -> Floats:
    """(pairs,) from 0 to 2: doubt, and how far the fold models contradict each other; 0 where no model can learn from a label.

    Args:
        confidence: (pairs,) chance that the self-label is right, 0.5 to 1.
        agreement: (pairs,) from 0 to 1 (`ser_core.learn.trust.confident.accord`); None where there are no fold models.
        apart: (pairs,) whether the two scores differ. Equal ones are of answers that are read alike, such as two that are cut before
            they differ.
    """
    doubt = 2 * (1 - np.clip(confidence, 0.5, 1.0))
    return np.where(apart, doubt if agreement is None else doubt + 1 - agreement, 0.0)


def most_useful(useful: Floats, wanted: int) -> NDArray[np.int64]:
    """The pairs that `spread` chooses from: `LOOKED_AT` times as many as are wanted, the most useful first; of equal ones the first."""
    return np.argsort(-useful, kind="stable")[: LOOKED_AT * wanted]


def spread(useful: Floats, prompts: Sequence[str], wanted: int) -> list[int]:
    """Positions of the pairs to label, the most useful first.

    Each next one has the highest usefulness times (1 - r), r the largest share of words that its prompt has in common with that of a pair
    chosen before (Jaccard). So another pair of the same prompt comes last.

    Args:
        useful: (pairs,) of `usefulness`.
        prompts: (pairs,) their prompts.
        wanted: How many; fewer where there are fewer pairs.
    """
    words = Words.of(prompts)
    likeness = np.zeros(len(prompts))
    chosen: list[int] = []
    while len(chosen) < min(wanted, len(prompts)):
        worth = useful * (1 - likeness)
        worth[chosen] = -1.0
        best = int(np.argmax(worth))
        chosen.append(best)
        likeness = np.maximum(likeness, words.likeness(best))
    return chosen
