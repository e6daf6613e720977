"""Which settings the seed model is trained with. Numpy alone."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_core.learn.evaluation.calibration import fitted_losses


def best_trial(margins: Sequence[NDArray[np.float64] | None]) -> int:
    """The trial with the lowest out-of-fold log loss, each at the temperature that fits it best; of equal ones the first.

    Args:
        margins: Of each trial (seed pairs,) score of the chosen answer minus that of the rejected one, by a model that has not seen it.
            None: it has diverged, which is infinitely bad; one at least has not.
    """
    return 0 if len(margins) == 1 else int(np.argmin([math.inf if trial is None else fitted_losses(trial).mean() for trial in margins]))
