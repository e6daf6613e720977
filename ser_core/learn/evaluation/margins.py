"""By how much scores prefer one answer of a pair."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ser_core.data.tables import EvaluatedPair, PairScores


def margins_of(pairs: Iterable[PairScores | EvaluatedPair]) -> NDArray[np.float64]:
    """(pairs,) score of the chosen or first answer minus that of the other."""
    return np.array([pair.margin for pair in pairs], dtype=np.float64)
