"""The stage `retrain`, and the three controls: train a reward model, export it, and evaluate what was exported.

A seed model with few dev pairs is cross-fitted first: four models, each trained on three quarters of the seed's training part, score the
quarter that they did not see. Those margins and the dev margins share one temperature, fitted on both together.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_core.api.serrun import Rule
from ser_core.api.stage import InputRole, RetrainMetrics
from ser_core.api.status import StageKind
from ser_core.data.tables import (
    CalibrationPair,
    EvaluatedPair,
    LabeledPair,
    TrainingStep,
    read_table,
    write_table,
)
from ser_core.errors import DataError
from ser_core.learn.compute.precision import Precision, detect, set_up_process
from ser_core.learn.compute.process_group import give_weights, process_group
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.training import TrainingPair, count_steps, train
from ser_core.learn.trust.calibration import CROSS_FIT_BELOW, FOLDS, fit_temperature, folds
from ser_core.learn.trust.evaluation import evaluate, report
from ser_jobs.process.context import StageContext, StageOutput
from ser_jobs.stages.training_data import Example, starts_from, training_data
from ser_jobs.stages.training_progress import TrainingProgress, pairs_in_steps


def body(context: StageContext) -> StageOutput | None:
    """Write the reward model, its evaluation on dev and held-out, and what calibrates it.

    Several processes share every training and every scoring; the first one has the output.

    Labels of held-out pairs go into the evaluation of held-out pairs and nowhere else.

    Raises:
        DataError: There is nothing to train on, or no dev or held-out pair.
        QualityError: The loss or a score is not finite.
        Interrupted: Asked to stop; a checkpoint was saved.
    """
    set_up_process(context.spec.threads)
    precision = detect(context.spec.spec.reward_model.precision)
    context.reporter.event("computing", device=precision.device, autocast=str(precision.autocast or "off"), note=precision.note)
    with process_group():
        output = _Retrain(context, precision).run()
    return output if context.rank == 0 else None


class _Retrain:
    """One retrain, from its inputs to its outputs. The steps stand in `run`."""

    def __init__(self, context: StageContext, precision: Precision) -> None:
        self._context = context
        self._precision = precision
        self._training = context.spec.spec.training
        self._data = training_data(context)
        self._examples = [*self._data.seed, *self._data.self_labeled]
        self._dev = self._labeled("dev.parquet")
        self._heldout = self._labeled("heldout.parquet")
        for name, rows in (("training", self._examples), ("dev", self._dev), ("held-out", self._heldout)):
            if not rows:
                raise DataError(f"there is no {name} pair", reason="NoPairs", hint="give more data, or other fractions in data")
        self._parts = self._cross_fit_parts()
        self._steps = context.spec.steps or count_steps(len(self._examples), self._training)
        self._progress = TrainingProgress(context, self._work(), len(self._dev) + len(self._heldout), precision.device)

    def run(self) -> StageOutput:
        """Cross-fit where dev is small, train, export, score, calibrate, evaluate."""
        for number, held_back in enumerate(self._parts):
            if number >= self._progress.finished_folds:
                self._cross_fit(held_back)
        history, truncated = self._train()
        model = self._load_exported()
        dev, heldout = self._evaluated(model, self._dev, 0), self._evaluated(model, self._heldout, len(self._dev))

        self._context.silent("evaluating")
        dev_margins = {pair.id: pair.score_chosen - pair.score_rejected for pair in dev}
        crossed = self._progress.margins
        temperature = fit_temperature(np.array([*dev_margins.values(), *crossed.values()]))
        calibration = [
            *(CalibrationPair(name, margin / temperature, "dev") for name, margin in dev_margins.items()),
            *(CalibrationPair(name, margin / temperature, "cross-fit") for name, margin in crossed.items()),
            *self._carried_forward(),
        ]
        metrics = RetrainMetrics(
            notes=(self._precision.note,) if self._precision.note else (),
            steps=self._steps,
            seed_pairs=len(self._data.seed),
            self_labeled_pairs=len(self._data.self_labeled),
            truncated=truncated,
            temperature=temperature,
            dev=evaluate(dev, temperature, self._of_best("dev_scores.parquet")),
            heldout=evaluate(heldout, temperature, self._of_best("heldout_scores.parquet")),
        )
        return StageOutput(self._write(dev, heldout, calibration, history, temperature), metrics)

    def _labeled(self, name: str) -> Sequence[LabeledPair]:
        return read_table(self._context.fetch(InputRole.PREPARED, name), LabeledPair)

    def _cross_fit_parts(self) -> list[NDArray[np.int64]]:
        """Indices of the examples that each fold holds back. Pairs of one prompt stay together."""
        seed_model = self._context.spec.stage is StageKind.RETRAIN and self._context.spec.iteration == 0
        chooses_by_precision = self._context.spec.spec.loop.rule is Rule.CALIBRATED
        if not (seed_model and chooses_by_precision) or len(self._dev) >= CROSS_FIT_BELOW:
            return []
        fold_of = folds([example.prompt for example in self._examples], self._training.seed)
        parts = [np.flatnonzero(fold_of == fold) for fold in range(FOLDS)]
        return parts if all(len(part) for part in parts) else []

    def _work(self) -> int:
        """Pairs that pass through a model in this stage, counted once for each pass."""
        rest = [len(self._examples) - len(part) for part in self._parts]
        fitted = sum(pairs_in_steps(count_steps(pairs, self._training), pairs, self._training.pairs_per_step) for pairs in rest)
        held_back = sum(map(len, self._parts))
        trained = pairs_in_steps(self._steps, len(self._examples), self._training.pairs_per_step)
        return fitted + held_back + trained + len(self._dev) + len(self._heldout)

    def _load_exported(self) -> RewardModel:
        """What the first process has exported; the others, who have no copy of the files, are told its weights."""
        settings = self._context.spec.spec.reward_model
        others = self._context.rank > 0
        folder = self._context.fetch_folder(starts_from(self._context), "model") if others else self._context.workdir / "model"
        model = load(folder, self._precision, max_length=settings.max_length)
        if self._context.world_size > 1:
            self._context.silent("handing out the exported model")
            give_weights(model.network)
        return model

    def _load_to_train(self) -> RewardModel:
        settings = self._context.spec.spec.reward_model
        folder = self._context.fetch_folder(starts_from(self._context), "model")
        self._context.silent("loading the model")
        return load(folder, self._precision, max_length=settings.max_length, seed=self._training.seed, adapter=settings.adapter)

    def _cross_fit(self, held_back: NDArray[np.int64]) -> None:
        model = self._load_to_train()
        hidden = set(held_back.tolist())
        seen = [example for index, example in enumerate(self._examples) if index not in hidden]
        state = train(
            model,
            _encoded(model, seen),
            self._training,
            steps=count_steps(len(seen), self._training),
            watch=self._progress,
            resume=self._progress.take_state(),
        )
        quarter = [self._examples[index] for index in held_back]
        pairs = [LabeledPair(example.id, example.prompt, example.better, example.worse, "") for example in quarter]
        self._progress.end_training(state)
        scores = self._progress.score(model, pairs, np.full((len(pairs), 2), np.nan))
        self._progress.end_fold({score.id: score.score_1 - score.score_2 for score in scores})

    def _train(self) -> tuple[Sequence[TrainingStep], int]:
        """Train on everything and export; returns the steps and the number of truncated pairs."""
        model = self._load_to_train()
        pairs = _encoded(model, self._examples)
        state = train(model, pairs, self._training, steps=self._steps, watch=self._progress, resume=self._progress.take_state())
        self._context.silent("exporting the model")
        if self._context.rank == 0:
            model.export(self._context.workdir / "model")
        self._progress.end_training(state)
        return state.history, sum(pair.better.truncated or pair.worse.truncated for pair in pairs)

    def _evaluated(self, model: RewardModel, pairs: Sequence[LabeledPair], first: int) -> list[EvaluatedPair]:
        known = self._progress.scores[first : first + len(pairs)]
        scores = self._progress.score(model, pairs, known)
        return [
            EvaluatedPair(pair.id, pair.source, score.score_1, score.score_2, score.tokens_1, score.tokens_2)
            for pair, score in zip(pairs, scores, strict=True)
        ]

    def _carried_forward(self) -> list[CalibrationPair]:
        """Cross-fitted pairs of the seed model, which later loops inherit from the model that labelled."""
        if not self._context.has(InputRole.LABELER, "calibration.parquet"):
            return []
        known = read_table(self._context.fetch(InputRole.LABELER, "calibration.parquet"), CalibrationPair)
        return [pair for pair in known if pair.origin == "cross-fit"]

    def _of_best(self, name: str) -> Sequence[EvaluatedPair] | None:
        if InputRole.BEST not in self._context.inputs:
            return None
        return read_table(self._context.fetch(InputRole.BEST, name), EvaluatedPair)

    def _write(
        self,
        dev: Sequence[EvaluatedPair],
        heldout: Sequence[EvaluatedPair],
        calibration: Sequence[CalibrationPair],
        history: Sequence[TrainingStep],
        temperature: float,
    ) -> dict[str, Path]:
        folder = self._context.workdir
        write_table(folder / "dev_scores.parquet", EvaluatedPair, dev)
        write_table(folder / "heldout_scores.parquet", EvaluatedPair, heldout)
        write_table(folder / "calibration.parquet", CalibrationPair, calibration)
        write_table(folder / "training.parquet", TrainingStep, history)
        details = {"dev": report(dev, temperature), "heldout": report(heldout, temperature)}
        (folder / "evaluation.json").write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
        names = ("dev_scores.parquet", "heldout_scores.parquet", "calibration.parquet", "training.parquet", "evaluation.json")
        model = {path.relative_to(folder).as_posix(): path for path in sorted((folder / "model").rglob("*")) if path.is_file()}
        return {name: folder / name for name in names} | model


def _encoded(model: RewardModel, examples: Sequence[Example]) -> list[TrainingPair]:
    rows = model.encoder.pairs([one.prompt for one in examples], [one.better for one in examples], [one.worse for one in examples])
    return [TrainingPair(better, worse, one.target, one.weight) for (better, worse), one in zip(rows, examples, strict=True)]
