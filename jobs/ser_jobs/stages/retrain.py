"""The stage `retrain`, and the three controls: train a reward model, store it, and evaluate what was stored.

`Plan` says which trainings there are, `Position` which of them are finished, `RetrainModels` what they start from, `Judge` what came
out.
"""

from collections.abc import Sequence
from pathlib import Path

from ser_core.api.spec.training import TrainingSpec
from ser_core.api.stage import InputRole, RetrainMetrics
from ser_core.counted import counted
from ser_core.data.tables import LabeledPair, PoolPair, TrainingStep, read_table
from ser_core.errors import DataError, QualityError
from ser_core.learn.compute.precision import Precision
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.evaluation.collapse import why_dead, why_equal
from ser_core.learn.evaluation.evaluation import evaluate
from ser_core.learn.evaluation.margins import margins_of
from ser_core.learn.evaluation.search import best_trial
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.learn.reward.training import TrainingPair, TrainingState, train
from ser_core.memory.training import Sharding
from ser_jobs.process.context import StageContext, StageOutput
from ser_jobs.training.computing import set_up
from ser_jobs.training.labeled import labeled
from ser_jobs.training.memory_check import planned_sharding, refuse_what_does_not_fit
from ser_jobs.training.model_output import base_files, model_files
from ser_jobs.training.retrain.evaluated import Evaluated, write_evaluated
from ser_jobs.training.retrain.fold_models import FoldModels
from ser_jobs.training.retrain.judge import Judge
from ser_jobs.training.retrain.retrain_models import RetrainModels
from ser_jobs.training.retrain.retrain_plan import make_plan
from ser_jobs.training.retrain.told_trainings import told
from ser_jobs.training.retrain.training_data import Example, groups_of, starts_from, training_data
from ser_jobs.training.retrain.training_progress import TrainingProgress


def body(context: StageContext) -> StageOutput | None:
    """Make the reward model, its evaluation on dev and held-out pairs, and the margins that calibrate it.

    Several processes share every training and every scoring; rank 0 returns the output, the others None.

    Labels of held-out pairs are used for the evaluation on held-out pairs and for nothing else.

    Raises:
        DataError: There is nothing to train on, or no dev or held-out pair.
        QualityError: The loss or a score is not finite, in each trial of a search.
        Interrupted: Asked to stop; a checkpoint was saved.
    """
    precision = set_up(context, context.spec.spec.reward_model.precision)
    with process_group():
        output = _Retrain(context, precision).run()
    return output if context.rank == 0 else None


REPEATED = 2
"""Times that a training which gave a collapsed model is repeated, at most."""
DIVERGED = ("NonFiniteLoss", "NonFiniteScore")
"""Reasons that say that a training, or what it has made, has left the finite numbers."""


class _Retrain:
    """One retrain, from its inputs to its outputs. `run` lists the steps."""

    def __init__(self, context: StageContext, precision: Precision) -> None:
        self._context = context
        self._precision = precision
        self._training = context.spec.spec.training
        self._groups = groups_of(context)
        self._data = training_data(context, self._groups)
        dev, heldout = (read_table(context.fetch(InputRole.PREPARED, name), LabeledPair) for name in ("dev.parquet", "heldout.parquet"))
        for name, rows in (("training", [*self._data.seed, *self._data.self_labeled]), ("dev", dev), ("held-out", heldout)):
            if not rows:
                raise DataError(f"there is no {name} pair", reason="NoPairs", hint="give more data, or other fractions in data")
        self._sharding: Sharding | None = None
        """As `planned_sharding` says."""
        self._plan = make_plan(context.spec, self._data, len(dev))
        self._fold_models = FoldModels(context)
        deciding = labeled(context) if context.spec.spec.loop.fold_count is not None else dev
        self._evaluated = len(deciding) + len(self._plan.sample) + len(heldout)
        self._progress = TrainingProgress(context, self._evaluated, precision.device)
        self._judge = Judge(context, self._plan, self._progress, deciding, heldout, self._data.groups)
        position = self._progress.position
        if self._plan.keeps_folds and not all(map(self._fold_models.has, set(range(position.folds)).difference(position.left_out))):
            self._progress.start_anew()
        self._models = RetrainModels(context, precision, self._progress.position.form)
        self._expect(*self._plan.trials)

    def run(self) -> StageOutput:
        """Cross-fit, choose the settings, train until the model holds, evaluate."""
        while self._progress.position.folds < len(self._plan.folds):
            self._cross_fit_or_leave_out(self._progress.position.folds)
        trial = self._best_trial() if self._plan.folds else 0
        training = self._plan.trials[trial]
        while True:
            self._expect(training)
            history, truncated = self._train(training)
            model = self._models.load_stored(self._sharding)
            why = why_dead(history, training, [one.margin for one in self._plan.examples]) or self._judge.why_collapsed(model, trial)
            if not self._begins_again(why):
                break
        found = self._judge.evaluate(model, trial, searched=self._searched)
        self._progress.finish()
        kept = range(*self._plan.of_trial(trial).indices(len(self._plan.folds))) if self._plan.keeps_folds else ()
        files = write_evaluated(self._context.workdir, found, history, self._groups) | model_files(self._context.workdir)
        return StageOutput(
            files | (self._fold_models.files(kept) if self._context.rank == 0 else {}),
            self._metrics(found, trial, truncated, why),
            {**base_files(self._context, starts_from(self._context)), **self._fold_models.bases(len(kept))},
        )

    def _cross_fit_or_leave_out(self, number: int) -> None:
        """`_cross_fit`; a trial of a search that diverges is left out.

        Raises:
            QualityError: All trials have diverged.
        """
        try:
            self._cross_fit(number)
        except QualityError as error:
            trials, fold = len(self._plan.trials), self._plan.folds[number]
            if error.reason not in DIVERGED or trials == 1:
                raise
            settings = f"learningRate {fold.training.learning_rate:g} and epochs {fold.training.epochs}"
            why = f"{settings}, in fold {fold.number + 1}: {error.message}"
            if len(self._progress.position.diverged) + 1 == trials:
                told_of_all = f"all {trials} trials of training.search diverged, the last one with {why}"
                raise QualityError(told_of_all, reason=error.reason, hint=error.hint) from None
            self._leave_out(number, why)

    def _cross_fit(self, number: int) -> None:
        """Train one fold's model without the pairs that it holds back, then score these with it."""
        fold = self._plan.folds[number]
        held_back = [PoolPair(one.id, one.prompt, one.better, one.worse, "") for one in fold.held_back]
        while True:
            model = self._load_to_train(self._fold_models.start_of(fold.number) if self._plan.keeps_folds else self._models.start)
            state = self._fit(model, _encoded(model, fold.seen), fold.steps, fold.training)
            scores = self._progress.score_fold(model, [*held_back, *self._plan.sample])
            why = why_dead(state.history, fold.training, [one.margin for one in fold.seen]) or why_equal(margins_of(scores))
            if not self._begins_again(f"of fold {fold.number + 1}: {why}" if why else ""):
                break
        if self._plan.keeps_folds:
            self._fold_models.keep(number, fold.number, model)
        self._progress.finish_fold(scores[: len(held_back)], margins_of(scores[len(held_back) :]).tolist(), why)

    def _leave_out(self, number: int, why: str) -> None:
        """The trial of this fold has diverged: its other folds are not trained."""
        trial = number // self._plan.fold_count
        unfinished = {*self._progress.position.left_out, *range(number, len(self._plan.folds))}
        self._progress.leave_out(trial, why, (trial + 1) * self._plan.fold_count, 2 * self._plan.cross_fitting(unfinished))
        self._expect(*self._plan.trials)

    def _best_trial(self) -> int:
        position, trials = self._progress.position, [self._plan.of_trial(trial) for trial in range(len(self._plan.trials))]
        diverged = dict(position.diverged)
        return best_trial([None if trial in diverged else margins_of(position.held_back_by(folds)) for trial, folds in enumerate(trials)])

    def _train(self, training: TrainingSpec) -> tuple[Sequence[TrainingStep], int]:
        """Train on everything and store the model; returns the steps and the number of truncated pairs."""
        model = self._load_to_train(self._models.start)
        pairs = _encoded(model, self._plan.examples)
        state = self._fit(model, pairs, self._plan.steps_of(training), training)
        self._models.store(model)
        return state.history, sum(pair.better.truncated or pair.worse.truncated for pair in pairs)

    def _load_to_train(self, folder: Path) -> RewardModel:
        self._context.silent("loading the model")
        self._sharding = planned_sharding(refuse_what_does_not_fit(self._context, {"reward": folder}))
        return self._models.load_to_train(folder)

    def _fit(self, model: RewardModel, pairs: Sequence[TrainingPair], steps: int, training: TrainingSpec) -> TrainingState:
        """Take the steps of the current training that the position does not have yet; returns the state after the last one.

        A training that is repeated takes the pairs in another order, at half the rate.
        """
        resume, times = self._progress.position.training, self._progress.position.repeats
        changed = {"seed": training.seed + times, "learning_rate": training.learning_rate / 2**times}
        settings = training.model_copy(update={**changed, "tokens_per_batch": self._context.tokens_per_batch})
        state = train(model, pairs, settings, steps=steps, watch=self._progress, resume=resume, sharding=self._sharding)
        self._progress.finish_training(state)
        return state

    def _begins_again(self, why: str) -> bool:
        """Whether the current training is repeated, because of what is wrong with its model."""
        if not why or self._progress.position.repeats == REPEATED:
            return False
        self._progress.repeat_training(why)
        return True

    def _expect(self, *trainings: TrainingSpec) -> None:
        """Say how much work it is, the last training with one of these settings included."""
        longest = max(map(self._plan.last_training, trainings))
        self._progress.expect(self._plan.cross_fitting(self._progress.position.left_out) + longest + self._evaluated)

    def _metrics(self, found: Evaluated, trial: int, truncated: int, why: str) -> RetrainMetrics:
        training, position = self._plan.trials[trial], self._progress.position
        ties = counted(len(self._data.ties), "tie")
        tied = f"{ties} learnt with target one half, beside the pairs with a label" if self._data.ties else ""
        went_wrong = told(position, self._plan.of_trial(trial), why)
        notes = (*went_wrong, self._precision.note, tied, *self._plan.notes, *found.notes)
        return RetrainMetrics(
            notes=tuple(filter(None, notes)),
            steps=self._plan.steps_of(training),
            seed_pairs=len(self._data.seed),
            self_labeled_pairs=len(self._data.self_labeled),
            truncated=truncated,
            temperature=found.temperature,
            dev=evaluate(found.dev, found.temperature, found.best_dev, self._groups),
            heldout=evaluate(found.heldout, found.temperature, self._judge.of_best("heldout_scores.parquet"), self._groups),
            folds=self._plan.fold_count if self._plan.keeps_folds else None,
            learning_rate=training.learning_rate if self._searched else None,
            epochs=training.epochs if self._searched else None,
            trainings=1 + len(position.collapsed),
            collapsed=bool(why),
            loss_gain=found.paired.gain if found.paired else None,
            loss_gain_error=found.paired.error if found.paired else None,
        )

    @property
    def _searched(self) -> bool:
        """Whether the settings come from a search; only with folds there is one."""
        return self._training.search is not None and self._context.spec.spec.loop.fold_count is not None


def _encoded(model: RewardModel, examples: Sequence[Example]) -> list[TrainingPair]:
    rows = model.encoder.pairs([one.prompt for one in examples], [one.better for one in examples], [one.worse for one in examples])
    return [TrainingPair(better, worse, one.target, one.weight, one.margin) for (better, worse), one in zip(rows, examples, strict=True)]
