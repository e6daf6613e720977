"""The stage `retrain`, and the three controls: train a reward model, store it, and evaluate what was stored.

`Plan` says which trainings there are, `Position` which of them are finished, `evaluated` what decides: the pairs that the folds held back,
or a dev part.
"""

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_core.api.spec.training import TrainingSpec
from ser_core.api.stage import InputRole, RetrainMetrics
from ser_core.counted import counted
from ser_core.data.tables import CalibrationPair, EvaluatedPair, LabeledPair, PairScores, PoolPair, TrainingStep, read_table
from ser_core.errors import DataError, QualityError
from ser_core.learn.compute.pieces import cut_layers
from ser_core.learn.compute.placing import place
from ser_core.learn.compute.precision import Precision
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.evaluation.collapse import Fit, why_collapsed, why_dead, why_equal
from ser_core.learn.evaluation.evaluation import evaluate
from ser_core.learn.evaluation.search import best_trial
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.training import TrainingPair, TrainingState, train
from ser_core.learn.text.reference_text import Form
from ser_core.memory.training import Sharding
from ser_core.store.stages.model_folder import MODEL
from ser_jobs.process.context import StageContext, StageOutput
from ser_jobs.training.computing import set_up
from ser_jobs.training.evaluated import Evaluated, out_of_fold, seen_dev, with_dev, write_evaluated
from ser_jobs.training.fold_models import FoldModels
from ser_jobs.training.memory_check import planned_sharding, refuse_what_does_not_fit
from ser_jobs.training.model_output import base_files, model_files
from ser_jobs.training.retrain_plan import make_plan
from ser_jobs.training.told_trainings import told
from ser_jobs.training.training_data import Example, groups_of, is_trained_on, labeled, starts_from, training_data
from ser_jobs.training.training_progress import TrainingProgress


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
        self._dev = self._labeled("dev.parquet")
        self._heldout = self._labeled("heldout.parquet")
        for name, rows in (("training", [*self._data.seed, *self._data.self_labeled]), ("dev", self._dev), ("held-out", self._heldout)):
            if not rows:
                raise DataError(f"there is no {name} pair", reason="NoPairs", hint="give more data, or other fractions in data")
        self._sharding: Sharding | None = None
        """As `planned_sharding` says."""
        self._plan = make_plan(context.spec, self._data, len(self._dev))
        self._fold_models = FoldModels(context)
        self._deciding = labeled(context) if context.spec.spec.loop.fold_count is not None else self._dev
        self._checked = [*_unlabeled(self._deciding), *self._plan.sample]
        self._progress = TrainingProgress(context, len(self._checked) + len(self._heldout), precision.device)
        position = self._progress.position
        if self._plan.keeps_folds and not all(map(self._fold_models.has, set(range(position.folds)).difference(position.left_out))):
            self._progress.start_anew()
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
            model = self._load_stored()
            why = why_dead(history, training, [one.margin for one in self._plan.examples]) or self._why_collapsed(model, trial)
            if not self._begins_again(why):
                break
        found = self._evaluate(model, trial)
        self._progress.finish()
        kept = range(*self._plan.of_trial(trial).indices(len(self._plan.folds))) if self._plan.keeps_folds else ()
        files = write_evaluated(self._context.workdir, found, history, self._groups) | model_files(self._context.workdir)
        return StageOutput(
            files | (self._fold_models.files(kept) if self._context.rank == 0 else {}),
            self._metrics(found, trial, truncated, why),
            {**base_files(self._context, starts_from(self._context)), **self._fold_models.bases(len(kept))},
        )

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
            heldout=evaluate(found.heldout, found.temperature, self._of_best("heldout_scores.parquet"), self._groups),
            folds=self._plan.fold_count if self._plan.keeps_folds else None,
            learning_rate=training.learning_rate if self._searched else None,
            epochs=training.epochs if self._searched else None,
            trainings=1 + len(position.collapsed),
            collapsed=bool(why),
            loss_gain=found.paired.gain if found.paired else None,
            loss_gain_error=found.paired.error if found.paired else None,
        )

    def _expect(self, *trainings: TrainingSpec) -> None:
        """Say how much work it is, the last training with one of these settings included."""
        evaluated, longest = len(self._checked) + len(self._heldout), max(map(self._plan.last_training, trainings))
        self._progress.expect(self._plan.cross_fitting(self._progress.position.left_out) + longest + evaluated)

    def _begins_again(self, why: str) -> bool:
        """Whether the current training is repeated, because of what is wrong with its model."""
        if not why or self._progress.position.repeats == REPEATED:
            return False
        self._progress.repeat_training(why)
        return True

    def _held_back(self, trial: int) -> list[PairScores]:
        """What the folds of a trial make of the pairs that they have not seen."""
        return [one for rows in self._progress.position.held_back[self._plan.of_trial(trial)] for one in rows]

    def _labeled(self, name: str) -> Sequence[LabeledPair]:
        return read_table(self._context.fetch(InputRole.PREPARED, name), LabeledPair)

    @cached_property
    def _start(self) -> Path:
        """Folder of the weights that the last training starts from."""
        return self._context.fetch_folder(starts_from(self._context), MODEL)

    @property
    def _searched(self) -> bool:
        """Whether the settings come from a search; only with folds there is one."""
        return self._training.search is not None and self._context.spec.spec.loop.fold_count is not None

    @property
    def _form(self) -> Form | None:
        """How rows are made: None, as it has learnt, for a model that has learnt already."""
        if starts_from(self._context) is not InputRole.PREPARED:
            return None
        return self._progress.position.form if self._context.spec.spec.reward_model.template == "reference" else Form.CHAT

    def _load_stored(self) -> RewardModel:
        """The model as it is stored. Only rank 0 has its files; the other ranks get the weights, or their pieces, from it."""
        settings, device = self._context.spec.spec.reward_model, self._precision.device
        folder = self._context.workdir / MODEL if self._context.rank == 0 else self._start
        model = load(
            folder,
            self._precision,
            max_length=settings.max_length,
            frozen=True,
            form=self._form,
            template_text=settings.custom_text,
            together=True,
        )
        self._context.silent("placing the model")
        if self._sharding is not None and self._sharding.pieces:
            cut_layers(model.network, device)
        else:
            place(model.network, device)
        return model

    def _load_to_train(self, folder: Path) -> RewardModel:
        settings = self._context.spec.spec.reward_model
        self._context.silent("loading the model")
        self._sharding = planned_sharding(refuse_what_does_not_fit(self._context, {"reward": folder}))
        seed, adapter = self._training.seed, settings.adapter
        return load(
            folder,
            self._precision,
            max_length=settings.max_length,
            seed=seed,
            adapter=adapter,
            form=self._form,
            template_text=settings.custom_text,
            together=True,
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

    def _leave_out(self, number: int, why: str) -> None:
        """The trial of this fold has diverged: its other folds are not trained."""
        trial = number // self._plan.fold_count
        unfinished = {*self._progress.position.left_out, *range(number, len(self._plan.folds))}
        self._progress.leave_out(trial, why, (trial + 1) * self._plan.fold_count, 2 * self._plan.cross_fitting(unfinished))
        self._expect(*self._plan.trials)

    def _best_trial(self) -> int:
        diverged = dict(self._progress.position.diverged)
        return best_trial([None if trial in diverged else _margins(self._held_back(trial)) for trial in range(len(self._plan.trials))])

    def _cross_fit(self, number: int) -> None:
        """Train one fold's model without the pairs that it holds back, then score these with it."""
        fold = self._plan.folds[number]
        held_back = [PoolPair(one.id, one.prompt, one.better, one.worse, "") for one in fold.held_back]
        while True:
            model = self._load_to_train(self._fold_models.start_of(fold.number) if self._plan.keeps_folds else self._start)
            state = self._fit(model, _encoded(model, fold.seen), fold.steps, fold.training)
            scores = self._progress.score_fold(model, [*held_back, *self._plan.sample])
            why = why_dead(state.history, fold.training, [one.margin for one in fold.seen]) or why_equal(_margins(scores))
            if not self._begins_again(f"of fold {fold.number + 1}: {why}" if why else ""):
                break
        if self._plan.keeps_folds:
            self._fold_models.keep(number, fold.number, model)
        self._progress.finish_fold(scores[: len(held_back)], _margins(scores[len(held_back) :]).tolist(), why)

    def _train(self, training: TrainingSpec) -> tuple[Sequence[TrainingStep], int]:
        """Train on everything and store the model; returns the steps and the number of truncated pairs."""
        model = self._load_to_train(self._start)
        pairs = _encoded(model, self._plan.examples)
        state = self._fit(model, pairs, self._plan.steps_of(training), training)
        self._context.silent("writing the model")
        if self._context.rank == 0:
            shutil.rmtree(self._context.workdir / MODEL, ignore_errors=True)
        model.store(self._context.workdir / MODEL, base=self._start, half=not is_trained_on(self._context))
        return state.history, sum(pair.better.truncated or pair.worse.truncated for pair in pairs)

    def _why_collapsed(self, model: RewardModel, trial: int) -> str:
        """What is wrong with the trained model: its scores are all equal, or it is worse than its fold models; a control has those of the
        best reward model. Empty: nothing.
        """
        margins, seed = _margins(self._progress.score_evaluated(model, self._checked, 0)), len(self._deciding)
        equal = why_equal(margins)
        if equal or self._context.spec.spec.loop.fold_count is None:
            return equal
        unseen = self._unseen(trial)
        if any(one.id not in unseen for one in self._deciding):
            return ""
        sampled = self._progress.position.sampled[self._plan.of_trial(trial)] if self._plan.keeps_folds else ()
        return why_collapsed(Fit(margins[:seed], np.array([unseen[one.id] for one in self._deciding]), margins[seed:], np.array(sampled)))

    def _unseen(self, trial: int) -> dict[str, float]:
        """Margin of each labelled pair by a fold model that has not seen it."""
        if self._plan.keeps_folds:
            return {one.id: one.score_1 - one.score_2 for one in self._held_back(trial)}
        return {one.id: one.score_chosen - one.score_rejected for one in self._of_best("dev_scores.parquet") or ()}

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

    def _evaluate(self, model: RewardModel, trial: int) -> Evaluated:
        """Dev and held-out scores, and how they are calibrated."""
        heldout = self._scored(model, self._heldout, len(self._checked))
        held_back, best = self._held_back(trial), self._of_best("dev_scores.parquet")
        if self._plan.keeps_folds:
            return out_of_fold(self._deciding, held_back, heldout, best, self._data.groups, searched=self._searched)
        dev = self._scored(model, self._deciding, 0)
        self._context.silent("evaluating")
        if self._context.spec.spec.loop.fold_count is not None:
            return seen_dev(dev, heldout, best)
        return with_dev(dev, heldout, held_back, self._carried_forward(), best)

    def _scored(self, model: RewardModel, pairs: Sequence[LabeledPair], first: int) -> list[EvaluatedPair]:
        scores = self._progress.score_evaluated(model, _unlabeled(pairs), first)
        return [
            EvaluatedPair(pair.id, pair.source, score.score_1, score.score_2, score.tokens_1, score.tokens_2)
            for pair, score in zip(pairs, scores, strict=True)
        ]

    def _carried_forward(self) -> list[CalibrationPair]:
        """Cross-fitted pairs of the seed model; every later loop takes them over from the model that labelled."""
        if not self._context.has(InputRole.LABELER, "calibration.parquet"):
            return []
        known = read_table(self._context.fetch(InputRole.LABELER, "calibration.parquet"), CalibrationPair)
        return [pair for pair in known if pair.origin == "cross-fit"]

    def _of_best(self, name: str) -> Sequence[EvaluatedPair] | None:
        if InputRole.BEST not in self._context.inputs:
            return None
        return read_table(self._context.fetch(InputRole.BEST, name), EvaluatedPair)


def _margins(scores: Sequence[PairScores]) -> NDArray[np.float64]:
    return np.array([one.score_1 - one.score_2 for one in scores], dtype=np.float64)


def _unlabeled(pairs: Sequence[LabeledPair]) -> list[PoolPair]:
    """Pairs to be scored, the chosen answer first."""
    return [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, pair.source) for pair in pairs]


def _encoded(model: RewardModel, examples: Sequence[Example]) -> list[TrainingPair]:
    rows = model.encoder.pairs([one.prompt for one in examples], [one.better for one in examples], [one.worse for one in examples])
    return [TrainingPair(better, worse, one.target, one.weight, one.margin) for (better, worse), one in zip(rows, examples, strict=True)]
