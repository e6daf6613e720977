"""Which trainings a retrain or a control consists of, and how much work they are. Pure.

A seed model with few dev pairs is cross-fitted: four models, each trained on three quarters of the seed's training part, score the quarter
that they did not see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_core.api.serrun import Rule, TrainingSpec
from ser_core.api.stage import StageSpec
from ser_core.api.status import StageKind
from ser_core.learn.reward.batching import steps_per_epoch
from ser_core.learn.reward.training import count_steps
from ser_core.learn.trust.calibration import CROSS_FIT_BELOW, FOLDS, folds


@dataclass(frozen=True, slots=True)
class Plan:
    """The trainings, in their order: one for each fold, then the one whose model is exported.

    Attributes:
        examples: Pairs of the last training.
        folds: Indices of the examples that each cross-fit fold holds back; empty where nothing is cross-fitted.
        steps: Optimizer steps of the last training.
    """

    examples: int
    folds: Sequence[NDArray[np.int64]]
    steps: int

    def work(self, training: TrainingSpec, evaluated: int) -> int:
        """Pairs that pass through a model, counted once for each pass; ``evaluated`` of them in the evaluation."""
        seen = [self.examples - len(held_back) for held_back in self.folds]
        fitted = sum(_pairs_in_steps(count_steps(pairs, training), pairs, training.pairs_per_step) for pairs in seen)
        held_back = sum(map(len, self.folds))
        return fitted + held_back + _pairs_in_steps(self.steps, self.examples, training.pairs_per_step) + evaluated


def make_plan(stage: StageSpec, prompts: Sequence[str], dev: int) -> Plan:
    """The trainings of a stage.

    Args:
        stage: A retrain or a control.
        prompts: Of the training pairs. Pairs of one prompt are held back together.
        dev: Number of dev pairs.
    """
    training = stage.spec.training
    return Plan(len(prompts), _folds(stage, prompts, dev), stage.steps or count_steps(len(prompts), training))


def _folds(stage: StageSpec, prompts: Sequence[str], dev: int) -> list[NDArray[np.int64]]:
    seed_model = stage.stage is StageKind.RETRAIN and stage.iteration == 0
    if not seed_model or dev >= CROSS_FIT_BELOW or stage.spec.loop.rule is not Rule.CALIBRATED:
        return []
    fold_of = folds(prompts, stage.spec.training.seed)
    held_back = [np.flatnonzero(fold_of == fold) for fold in range(FOLDS)]
    return held_back if all(map(len, held_back)) else []


def _pairs_in_steps(steps: int, pairs: int, pairs_per_step: int) -> int:
    """Pairs that ``steps`` optimizer steps take, passing over ``pairs`` pairs as often as they need."""
    epochs, rest = divmod(steps, steps_per_epoch(pairs, pairs_per_step))
    return epochs * pairs + rest * pairs_per_step
