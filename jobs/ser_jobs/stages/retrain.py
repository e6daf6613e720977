"""The stage `retrain`, and the three controls: train a reward model, store it, and evaluate what was stored.

`Plan` says which trainings there are, `Position` which of them are finished. Where the plan has cross-fit folds, the margins of their
held-back pairs and the dev margins share one temperature, which is fitted on both together.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_core.api.stage import InputRole, RetrainMetrics
from ser_core.data.tables import (
    CalibrationPair,
    EvaluatedPair,
    LabeledPair,
    PoolPair,
    TrainingStep,
    read_table,
    write_table,
)
from ser_core.errors import DataError
from ser_core.learn.compute.precision import Precision, detect, gpu_memory, set_up_process
from ser_core.learn.compute.process_group import give_weights, process_group
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.training import TrainingPair, TrainingState, count_steps, train
from ser_core.learn.trust.calibration import fit_temperature
from ser_core.learn.trust.evaluation import evaluate, report
from ser_core.store.model_folder import MODEL
from ser_jobs.process.context import StageContext, StageOutput
from ser_jobs.stages.memory_check import refuse_what_does_not_fit
from ser_jobs.stages.model_output import base_files, model_files
from ser_jobs.stages.retrain_plan import make_plan
from ser_jobs.stages.training_data import Example, is_trained_on, starts_from, training_data
from ser_jobs.stages.training_progress import TrainingProgress


def body(context: StageContext) -> StageOutput | None:
    """Make the reward model, its evaluation on dev and held-out pairs, and the margins that calibrate it.

    Several processes share every training and every scoring; rank 0 returns the output, the others None.

    Labels of held-out pairs are used for the evaluation on held-out pairs and for nothing else.

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
    """One retrain, from its inputs to its outputs. `run` lists the steps."""

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
        self._plan = make_plan(context.spec, [example.prompt for example in self._examples], len(self._dev))
        evaluated = len(self._dev) + len(self._heldout)
        self._progress = TrainingProgress(context, self._plan.work(self._training, evaluated), evaluated, precision.device)

    def run(self) -> StageOutput:
        """Cross-fit where dev is small, train, store, score, calibrate, evaluate."""
        for held_back in self._plan.folds[self._progress.position.folds :]:
            self._cross_fit(held_back)
        history, truncated = self._train()
        model = self._load_stored()
        dev, heldout = self._evaluated(model, self._dev, 0), self._evaluated(model, self._heldout, len(self._dev))

        self._context.silent("evaluating")
        dev_margins = {pair.id: pair.score_chosen - pair.score_rejected for pair in dev}
        crossed = self._progress.position.margins
        temperature = fit_temperature(np.array([*dev_margins.values(), *crossed.values()]))
        calibration = [
            *(CalibrationPair(name, margin / temperature, "dev") for name, margin in dev_margins.items()),
            *(CalibrationPair(name, margin / temperature, "cross-fit") for name, margin in crossed.items()),
            *self._carried_forward(),
        ]
        metrics = RetrainMetrics(
            notes=(self._precision.note,) if self._precision.note else (),
            steps=self._plan.steps,
            seed_pairs=len(self._data.seed),
            self_labeled_pairs=len(self._data.self_labeled),
            truncated=truncated,
            temperature=temperature,
            dev=evaluate(dev, temperature, self._of_best("dev_scores.parquet")),
            heldout=evaluate(heldout, temperature, self._of_best("heldout_scores.parquet")),
        )
        files = self._write(dev, heldout, calibration, history, temperature)
        return StageOutput(files, metrics, base_files(self._context, starts_from(self._context)))

    def _labeled(self, name: str) -> Sequence[LabeledPair]:
        return read_table(self._context.fetch(InputRole.PREPARED, name), LabeledPair)

    @cached_property
    def _start(self) -> Path:
        """Folder of the weights that each training starts from."""
        return self._context.fetch_folder(starts_from(self._context), MODEL)

    def _load_stored(self) -> RewardModel:
        """The model as it is stored. Only rank 0 has its files; it broadcasts the weights to the other ranks."""
        settings = self._context.spec.spec.reward_model
        stored = self._context.workdir / MODEL
        model = load(stored if self._context.rank == 0 else self._start, self._precision, max_length=settings.max_length, frozen=True)
        if self._context.world_size > 1:
            self._context.silent("broadcasting the model")
            give_weights(model.network)
        return model

    def _load_to_train(self) -> RewardModel:
        settings = self._context.spec.spec.reward_model
        models = {"reward": self._start}
        self._context.silent("loading the model")
        refuse_what_does_not_fit("retrain", self._context.spec.spec, models, processes=self._context.world_size, gpu_memory=gpu_memory())
        return load(self._start, self._precision, max_length=settings.max_length, seed=self._training.seed, adapter=settings.adapter)

    def _cross_fit(self, held_back: NDArray[np.int64]) -> None:
        """Train one fold's model without the pairs ``held_back``, then score these with it."""
        model = self._load_to_train()
        hidden = set(held_back.tolist())
        seen = [example for index, example in enumerate(self._examples) if index not in hidden]
        self._fit(model, _encoded(model, seen), count_steps(len(seen), self._training))
        quarter = [self._examples[index] for index in held_back]
        scores = self._progress.score_fold(model, [PoolPair(one.id, one.prompt, one.better, one.worse, "") for one in quarter])
        self._progress.finish_fold({score.id: score.score_1 - score.score_2 for score in scores})

    def _train(self) -> tuple[Sequence[TrainingStep], int]:
        """Train on everything and store the model; returns the steps and the number of truncated pairs."""
        model = self._load_to_train()
        pairs = _encoded(model, self._examples)
        state = self._fit(model, pairs, self._plan.steps)
        self._context.silent("writing the model")
        if self._context.rank == 0:
            model.store(self._context.workdir / MODEL, base=self._start, half=not is_trained_on(self._context))
        return state.history, sum(pair.better.truncated or pair.worse.truncated for pair in pairs)

    def _fit(self, model: RewardModel, pairs: Sequence[TrainingPair], steps: int) -> TrainingState:
        """Take the steps of the current training that the position does not have yet; returns the state after the last one."""
        resume = self._progress.position.training
        state = train(model, pairs, self._training, steps=steps, watch=self._progress, resume=resume)
        self._progress.finish_training(state)
        return state

    def _evaluated(self, model: RewardModel, pairs: Sequence[LabeledPair], first: int) -> list[EvaluatedPair]:
        unlabeled = [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, pair.source) for pair in pairs]
        scores = self._progress.score_evaluated(model, unlabeled, first)
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
        return {name: folder / name for name in names} | model_files(folder)


def _encoded(model: RewardModel, examples: Sequence[Example]) -> list[TrainingPair]:
    rows = model.encoder.pairs([one.prompt for one in examples], [one.better for one in examples], [one.worse for one in examples])
    return [TrainingPair(better, worse, one.target, one.weight) for (better, worse), one in zip(rows, examples, strict=True)]
