"""Which trainings a retrain or a control consists of, and how much work they are. Pure.

Under rule calibrated each retrain is cross-fitted: as many models as there are folds, each without the seed pairs of one fold, score what
they did not see. Under the rule calibrated of version 0.1.0 that is so for the seed model alone, and only where there are few dev pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_core.api.serrun import Rule, TrainingSpec
from ser_core.api.stage import StageSpec
from ser_core.api.status import StageKind
from ser_core.data.tables import PoolPair
from ser_core.errors import DataError
from ser_core.learn.reward.batching import steps_per_epoch
from ser_core.learn.reward.training import count_steps
from ser_core.learn.trust.calibration import CROSS_FIT_BELOW, FOLDS, folds
from ser_core.learn.trust.folds import folds_of_groups
from ser_jobs.stages.training_data import Example, TrainingData


@dataclass(frozen=True, slots=True)
class Fold:
    """One training of the cross-fitting.

    Attributes:
        seen: What it learns.
        held_back: Seed pairs that its model scores afterwards, since it has not seen them.
    """

    seen: Sequence[Example]
    held_back: Sequence[Example]


@dataclass(frozen=True, slots=True)
class Plan:
    """The trainings, in their order: one for each fold, then the one whose model is the reward model.

    Attributes:
        examples: What the last training learns.
        folds: Of the cross-fitting; empty where nothing is cross-fitted.
        steps: Optimizer steps of the last training.
        sample: Pairs of the pool on which the reward model must agree with its fold models.
        keeps_folds: Whether the fold models are stored, because they label.
        notes: What a user should know of the folds.
    """

    examples: Sequence[Example]
    folds: Sequence[Fold]
    steps: int
    sample: Sequence[PoolPair] = ()
    keeps_folds: bool = False
    notes: tuple[str, ...] = ()

    def work(self, training: TrainingSpec, evaluated: int) -> int:
        """Pairs that pass through a model, counted once for each pass; ``evaluated`` of them in the evaluation."""
        seen = [len(fold.seen) for fold in self.folds]
        fitted = sum(_pairs_in_steps(count_steps(pairs, training), pairs, training.pairs_per_step) for pairs in seen)
        scored = sum(len(fold.held_back) + len(self.sample) for fold in self.folds)
        return fitted + scored + self.last_training(training) + evaluated

    def last_training(self, training: TrainingSpec) -> int:
        """The same of the last training alone."""
        return _pairs_in_steps(self.steps, len(self.examples), training.pairs_per_step)


def make_plan(stage: StageSpec, data: TrainingData, dev: int) -> Plan:
    """The trainings of a stage.

    Args:
        stage: A retrain or a control.
        data: What it learns from.
        dev: Number of dev pairs.

    Raises:
        DataError: All labelled pairs are in one group, so that no fold can be held back.
    """
    examples = [*data.seed, *data.self_labeled]
    steps = stage.steps or count_steps(len(examples), stage.spec.training)
    wanted = stage.spec.loop.fold_count
    if stage.stage is not StageKind.RETRAIN:
        return Plan(examples, (), steps)
    if wanted is None:
        return Plan(examples, _seed_folds(stage, data, dev), steps)
    groups = len(set(data.groups.values()))
    if groups < 2:
        raise DataError(
            f"all {len(data.seed)} labelled pairs are in one group, so that none can be held back",
            reason="TooFewGroups",
            hint="give more seed pairs, or a data.source.splitBy that makes smaller groups",
        )
    notes = () if groups >= wanted else (f"the labelled pairs are in {groups} groups, so there are {groups} folds in place of {wanted}",)
    folds = _group_folds(data, min(groups, wanted), stage.spec.training.seed)
    return Plan(examples, folds, steps, data.sample, keeps_folds=True, notes=notes)


def _group_folds(data: TrainingData, count: int, seed: int) -> list[Fold]:
    """Folds of whole groups, each with the self-labels of its own lineage."""
    fold_of = folds_of_groups(data.groups, count, seed)
    own = dict(enumerate(data.of_folds))
    return [
        Fold(
            seen=[*(one for one in data.seed if fold_of[one.id] != fold), *own.get(fold, ())],
            held_back=[one for one in data.seed if fold_of[one.id] == fold],
        )
        for fold in range(count)
    ]


def _seed_folds(stage: StageSpec, data: TrainingData, dev: int) -> list[Fold]:
    if stage.iteration or dev >= CROSS_FIT_BELOW or stage.spec.loop.rule is not Rule.CALIBRATED:
        return []
    fold_of = folds([one.prompt for one in data.seed], stage.spec.training.seed)
    if len(np.unique(fold_of)) < FOLDS:
        return []
    numbered = list(zip(fold_of, data.seed, strict=True))
    return [Fold([one for of, one in numbered if of != fold], [one for of, one in numbered if of == fold]) for fold in range(FOLDS)]


def _pairs_in_steps(steps: int, pairs: int, pairs_per_step: int) -> int:
    """Pairs that ``steps`` optimizer steps take, passing over ``pairs`` pairs as often as they need."""
    epochs, rest = divmod(steps, steps_per_epoch(pairs, pairs_per_step))
    return epochs * pairs + rest * pairs_per_step
