"""Which trainings a retrain or a control consists of, and how much work they are. Pure.

Under rule calibrated each retrain is cross-fitted: as many models as there are folds, each without the seed pairs of one fold, score what
they did not see. Under the rule calibrated of version 0.1.0 that is so for the seed model alone, and only where there are few dev pairs.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ser_core.api.spec.loop import Rule
from ser_core.api.spec.training import TrainingSpec
from ser_core.api.stage import StageSpec
from ser_core.api.status import StageKind
from ser_core.data.tables import PoolPair
from ser_core.errors import DataError
from ser_core.learn.evaluation.folds import CROSS_FIT_BELOW, FOLDS, folds, folds_of_groups
from ser_core.learn.reward.batching import steps_per_epoch
from ser_core.learn.reward.training import count_steps
from ser_jobs.training.retrain.training_data import Example, TrainingData

_STARVED = 2 / 3
"""Of the labelled pairs that equal folds would leave it, a fold model that learns a smaller share is told."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One training of the cross-fitting.

    Attributes:
        number: Of the fold, from 0.
        training: Its settings.
        seen: What it learns.
        held_back: Seed pairs that its model scores afterwards, since it has not seen them.
    """

    number: int
    training: TrainingSpec
    seen: Sequence[Example]
    held_back: Sequence[Example]

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return count_steps(len(self.seen), self.training)


@dataclass(frozen=True, slots=True)
class Plan:
    """The trainings, in their order: one for each fold, then the one whose model is the reward model.

    Attributes:
        examples: What the last training learns.
        trials: Settings of the last training; of several the one whose folds do best is taken.
        folds: Of the cross-fitting, trial by trial; empty where nothing is cross-fitted.
        steps: Optimizer steps of the last training, where they do not follow from its settings.
        sample: Pairs of the pool on which the reward model must agree with its fold models.
        keeps_folds: Whether the fold models are stored, because they label.
        notes: What a user should know of the folds.
    """

    examples: Sequence[Example]
    trials: Sequence[TrainingSpec]
    folds: Sequence[Fold]
    steps: int | None = None
    sample: Sequence[PoolPair] = ()
    keeps_folds: bool = False
    notes: tuple[str, ...] = ()

    @property
    def fold_count(self) -> int:
        """Folds of one trial."""
        return len(self.folds) // len(self.trials)

    def of_trial(self, trial: int) -> slice:
        """Places of a trial's folds among ``folds``."""
        return slice(trial * self.fold_count, (trial + 1) * self.fold_count)

    def steps_of(self, training: TrainingSpec) -> int:
        """Optimizer steps of the last training with these settings."""
        return self.steps or count_steps(len(self.examples), training)

    def cross_fitting(self, without: Collection[int]) -> int:
        """Pairs that pass through a model in the cross-fitting, counted once for each pass; ``without`` some of its folds."""
        folds = [fold for number, fold in enumerate(self.folds) if number not in without]
        fitted = sum(_pairs_in_steps(fold.steps, len(fold.seen), fold.training.pairs_per_step) for fold in folds)
        return fitted + sum(len(fold.held_back) + len(self.sample) for fold in folds)

    def last_training(self, training: TrainingSpec) -> int:
        """The same of the last training with these settings."""
        return _pairs_in_steps(self.steps_of(training), len(self.examples), training.pairs_per_step)


def trials_of(training: TrainingSpec) -> list[TrainingSpec]:
    """The settings that a search tries, each once; without one there is one trial."""
    search = training.search
    if search is None:
        return [training]
    rates, epochs = search.learning_rates or (training.learning_rate,), search.epochs or (training.epochs,)
    trials = dict.fromkeys((rate, count) for rate in rates for count in epochs)
    return [training.model_copy(update={"learning_rate": rate, "epochs": count}) for rate, count in trials]


def make_plan(stage: StageSpec, data: TrainingData, dev: int) -> Plan:
    """The trainings of a stage.

    Args:
        stage: A retrain or a control.
        data: What it learns from.
        dev: Number of dev pairs.

    Raises:
        DataError: All labelled pairs are in one group, so that no fold can be held back.
    """
    examples, wanted = [*data.seed, *data.ties, *data.self_labeled], stage.spec.loop.fold_count
    if stage.stage is not StageKind.RETRAIN:
        return Plan(examples, (data.training,), (), stage.steps)
    if wanted is None:
        return Plan(examples, (data.training,), _seed_folds(stage, data, dev))
    groups = len(set(data.groups.values()))
    if groups < 2:
        raise DataError(
            f"all {len(data.seed)} labelled pairs are in one group, so that none can be held back",
            reason="TooFewGroups",
            hint="give seed pairs of other groups, or a splitBy that makes smaller groups",
        )
    trials = trials_of(data.training) if stage.iteration == 0 else [data.training]
    folds = [fold for training in trials for fold in _group_folds(data, min(groups, wanted), training)]
    notes = tuple(_of_groups(groups, wanted, folds[: min(groups, wanted)]))
    return Plan(examples, trials, folds, None, data.sample, keeps_folds=True, notes=notes)


def _of_groups(groups: int, wanted: int, folds: Sequence[Fold]) -> Iterator[str]:
    """What the groups of the labelled pairs make of the folds: fewer than are wanted, or one so large that little is left to its model."""
    if groups < wanted:
        yield f"the labelled pairs are in {groups} groups, so there are {groups} folds in place of {wanted}"
    largest = max(folds, key=lambda fold: len(fold.held_back))
    pairs, held_back = sum(len(fold.held_back) for fold in folds), len(largest.held_back)
    if (pairs - held_back) / pairs < _STARVED * (1 - 1 / len(folds)):
        yield (
            f"fold {largest.number + 1} holds back {held_back:,} of {pairs:,} labelled pairs, nearly all in one group: its model learns "
            f"{pairs - held_back:,}, so out-of-fold numbers are worse than the model; a splitBy that makes smaller groups mends it"
        )


def _group_folds(data: TrainingData, count: int, training: TrainingSpec) -> list[Fold]:
    """Folds of whole groups, each with the self-labels of its own lineage, but for those of groups that it holds back."""
    fold_of = folds_of_groups(data.groups, count, training.seed)
    fold_of_group = {data.groups[name]: fold for name, fold in fold_of.items()}
    tied_fold = {name: fold_of_group.get(group) for name, group in data.tied_groups.items()}
    own = dict(enumerate(data.of_folds))
    return [
        Fold(
            number=fold,
            training=training,
            seen=[
                *(one for one in data.seed if fold_of[one.id] != fold),
                *(one for one in data.ties if tied_fold[one.id] != fold),
                *(one for one in own.get(fold, ()) if fold_of_group.get(data.pool_groups.get(one.id, "")) != fold),
            ],
            held_back=[one for one in data.seed if fold_of[one.id] == fold],
        )
        for fold in range(count)
    ]


def _seed_folds(stage: StageSpec, data: TrainingData, dev: int) -> list[Fold]:
    if stage.iteration or dev >= CROSS_FIT_BELOW or stage.spec.loop.rule is not Rule.CALIBRATED:
        return []
    fold_of = folds([one.prompt for one in data.seed], data.training.seed)
    if len(np.unique(fold_of)) < FOLDS:
        return []
    numbered = list(zip(fold_of, data.seed, strict=True))
    of_prompt = {one.prompt: of for of, one in numbered}
    tied = [(of_prompt.get(one.prompt), one) for one in data.ties]
    return [
        Fold(
            number=fold,
            training=data.training,
            seen=[one for of, one in (*numbered, *tied) if of != fold],
            held_back=[one for of, one in numbered if of == fold],
        )
        for fold in range(FOLDS)
    ]


def _pairs_in_steps(steps: int, pairs: int, pairs_per_step: int) -> int:
    """Pairs that ``steps`` optimizer steps take, passing over ``pairs`` pairs as often as they need."""
    epochs, rest = divmod(steps, steps_per_epoch(pairs, pairs_per_step))
    return epochs * pairs + rest * pairs_per_step
