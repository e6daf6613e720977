"""Which settings the seed model is trained with. Numpy alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_core.learn.evaluation.calibration import fit_temperature


def best_trial(margins: Sequence[NDArray[np.float64]]) -> int:
    """The trial with the lowest out-of-fold log loss, each at the temperature that fits it best; of equal ones the first.

    Args:
        margins: Of each trial (seed pairs,) score of the chosen answer minus that of the rejected one, by a model that has not seen it.
    """
    if len(margins) == 1:
        return 0
    return int(np.argmin([np.logaddexp(0.0, -trial / fit_temperature(trial)).mean() for trial in margins]))
