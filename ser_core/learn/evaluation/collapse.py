"""Whether a trained reward model has fallen apart, by its own training or by comparison with its fold models. Pure; numpy alone.

Some trainings die: within a few steps the model comes to score all answers alike, and no gradient leads out of there.

Every label trains the reward model, so no held-back pair of its own shows a training that went wrong. Two things do: it must get the pairs
that it has learnt right at least as often as the fold models get them right unseen, and agree with these on the pool, without labels, at
least as often as they agree with each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ser_core.api.spec.training import TrainingSpec
from ser_core.data.tables import TrainingStep
from ser_core.loop.deciding.learning_status import SO_THAT_SCORES_DIFFER

Floats = NDArray[np.float64]

ERRORS = 3.0
"""Standard errors below what is expected from which on a model counts as collapsed: chance alone does that in one of 700 cases."""
CONSTANT = 0.9
"""Share of the loss of equal scores from which on a training has learnt nothing at its end."""
EQUAL = 0.99
"""Share of the pairs with two exactly equal scores from which on a model has learnt nothing. The rest are rounding."""
VANISHED = 0.01
"""Share of the largest gradient norm below which a gradient has vanished. Of 69 trainings the one that had died was at 0.001, those that
had learnt their pairs by heart at 0.003 and more, with a loss near zero, and one that had only begun to learn at 0.8."""


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


def why_dead(steps: Sequence[TrainingStep], training: TrainingSpec, margins: Sequence[float]) -> str:
    """What shows that a training has died, by the last quarter of its steps; empty: nothing, or it had learnt nothing before either.

    Args:
        steps: All of them.
        training: Its loss.
        margins: Of the pairs that it learns.
    """
    last = steps[-max(1, len(steps) // 4) :]
    loss, norm, largest = fmean(one.loss for one in last), fmean(one.gradient_norm for one in last), max(one.gradient_norm for one in steps)
    if loss < CONSTANT * _of_equal_scores(training, margins) or norm >= VANISHED * largest:
        return ""
    return (
        f"its loss ended at {loss:.3f}, as of equal scores, and its gradient has vanished (a norm of {norm:.2g} after up to {largest:.2g})"
    )


def _of_equal_scores(training: TrainingSpec, margins: Sequence[float]) -> float:
    """The loss where all scores are equal."""
    if training.loss == "hinge":
        return training.margin + fmean(margins)
    return math.log(2) + fmean(math.log1p(math.exp(margin)) - math.log(2) for margin in margins)


def why_equal(margins: Floats) -> str:
    """What shows that a model scores all answers alike; empty: nothing, or there are no pairs.

    Args:
        margins: (pairs,) its score of one answer minus that of the other.
    """
    equal = int((margins == 0).sum())
    if not len(margins) or equal < EQUAL * len(margins):
        return ""
    return f"the two scores of {equal} of {len(margins)} pairs are exactly equal: {SO_THAT_SCORES_DIFFER}"


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
