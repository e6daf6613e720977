"""How far a retrain is: one progress bar and one checkpoint over its trainings and scorings.

A checkpoint holds the margins of the finished cross-fit folds, the state of the training that was running or had ended, and the scores of
the evaluation so far. Several processes show and save what the first of them knows; of a scoring that was cut short, that is its own share.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.data.tables import LabeledPair, PairScores, PoolPair, TrainingStep
from ser_core.errors import Interrupted
from ser_core.learn.compute import ranks
from ser_core.learn.reward.batching import deal, steps_per_epoch
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.learn.reward.scoring import score_pairs
from ser_core.learn.reward.training import TrainingState
from ser_jobs.process.context import StageContext
from ser_jobs.stages.stage_watch import StageWatch


def pairs_in_steps(steps: int, pairs: int, pairs_per_step: int) -> int:
    """Pairs that ``steps`` optimizer steps take, passing over ``pairs`` pairs as often as they need."""
    epochs, rest = divmod(steps, steps_per_epoch(pairs, pairs_per_step))
    return epochs * pairs + rest * pairs_per_step


class TrainingProgress(StageWatch):
    """The `Watch` of all trainings of a retrain, and the same for its scorings.

    Args:
        context: Where progress is shown and checkpoints are kept.
        total: Pairs that pass through a model in all.
        evaluated: Pairs of the evaluation, dev and held-out.
        device: Where models are computed.
    """

    def __init__(self, context: StageContext, total: int, evaluated: int, device: str) -> None:
        super().__init__(context, device)
        self._total = total
        self._state: TrainingState | None = None
        self._steps_before = 0
        self._answers = 0
        self.finished_folds = 0
        self.margins: dict[str, float] = {}
        self.scores: NDArray[np.float64] = np.full((evaluated, 2), np.nan)
        self._resume()
        self._show()

    def take_state(self) -> TrainingState | None:
        """The state that the first training of this attempt goes on from, once."""
        state, self._state = self._state, None
        return state

    def save(self, state: TrainingState) -> None:
        """Keep a checkpoint of a running training."""
        self._state = state
        self._save()

    def trained(self, step: TrainingStep) -> None:
        """One more optimizer step was taken."""
        self._answers += 2 * step.pairs
        self._context.measurements.trained(step)
        self._show()

    def end_training(self, state: TrainingState) -> None:
        """From now on checkpoints hold this state."""
        self._state = state

    def score(self, model: RewardModel, pairs: Sequence[LabeledPair], known: NDArray[np.float64]) -> list[PairScores]:
        """Scores of labelled pairs, the chosen answer first; ``known`` as in `score_pairs`."""
        self.silent("encoding what is scored")
        unlabeled = [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, pair.source) for pair in pairs]
        if self._context.world_size > 1:
            self._score_together(model, unlabeled, known)
        scores, _ = score_pairs(model, unlabeled, self._context.spec.spec.training.tokens_per_batch, known, self._after_batch)
        return scores

    def _score_together(self, model: RewardModel, pairs: Sequence[PoolPair], known: NDArray[np.float64]) -> None:
        """Fill in ``known``: every process scores a share of what is not known, which the others are then told."""
        unknown = np.flatnonzero(np.isnan(known).any(axis=1)).tolist()
        sizes = [2 * len(pairs[index].prompt) + len(pairs[index].answer_1) + len(pairs[index].answer_2) for index in unknown]
        own = [unknown[place] for place in deal(sizes, self._context.world_size)[self._context.rank]]
        scores, before = known[own], self._answers

        def after_batch(answers: int) -> None:
            known[own] = scores
            self._after_batch(answers)

        budget = self._context.spec.spec.training.tokens_per_batch
        score_pairs(model, [pairs[index] for index in own], budget, scores, after_batch)
        found = np.zeros_like(known)
        found[own] = scores
        self.silent("waiting for the others' scores")
        known[unknown] = ranks.total(torch.from_numpy(found).to(self._device)).cpu().numpy()[unknown]
        self._answers = before + 2 * len(unknown)
        self._show()

    def end_fold(self, margins: Mapping[str, float]) -> None:
        """One more cross-fit fold is done."""
        self.margins |= margins
        self.finished_folds += 1
        self._steps_before = self._step()
        self._state = None

    def _after_batch(self, answers: int) -> None:
        self._answers += answers
        self._show()
        if self.stopping():
            self._save()
            raise Interrupted(f"stopped while scoring, after optimizer step {self._step()}", hint="start it again to go on from there")
        if self.checkpoint_due():
            self._save()

    def _step(self) -> int:
        return self._steps_before + (len(self._state.history) if self._state else 0)

    def _show(self) -> None:
        self._context.reporter.progress(self._answers // 2, self._total, "pairs")

    def _save(self) -> None:
        self._keep(self._step(), self._write)

    def _write(self, folder: Path) -> Mapping[str, Path]:
        files = {name: folder / name for name in ("progress.json", "scores.npy")}
        finished = {"folds": self.finished_folds, "margins": self.margins, "stepsBefore": self._steps_before, "answers": self._answers}
        files["progress.json"].write_text(json.dumps(finished), encoding="utf-8")
        np.save(files["scores.npy"], self.scores, allow_pickle=False)
        if self._state:
            files |= self._state.write(folder)
        return files

    def _resume(self) -> None:
        files = self._newest()
        if files is None:
            return
        finished = json.loads(files["progress.json"].read_text(encoding="utf-8"))
        self.finished_folds, self.margins = finished["folds"], finished["margins"]
        self._steps_before, self._answers = finished["stepsBefore"], finished["answers"]
        self.scores = np.load(files["scores.npy"], allow_pickle=False)
        if "history.json" in files:
            self._state = TrainingState.read(files["history.json"].parent)
