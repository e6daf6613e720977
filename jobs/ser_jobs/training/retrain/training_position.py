"""How far a retrain is, as one value: what its checkpoints hold, and what each event makes of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ser_core.data.tables import PairScores
from ser_core.learn.reward.scoring import Scores
from ser_core.learn.reward.training import TrainingState
from ser_core.learn.text.reference_text import Form


@dataclass(frozen=True, slots=True)
class Position:
    """A retrain between two batches.

    A retrain trains one model for each cross-fit fold (`Plan`), and then the model that it stores. After its training, a fold scores the
    pairs that it held back; the stored model scores the evaluation pairs, held-out last.

    Attributes:
        scores: Of the chosen and the rejected answer of every evaluation pair, shape (pairs, 2). NaN: not computed yet.
        folds: Cross-fit folds that are finished, that is trained and scored, or left out.
        held_back: What each finished fold makes of the pairs that it held back; the answer that is labelled better first. Empty: the fold
            was left out.
        sampled: Margins of the pool's sample by each finished fold, in the order of the folds.
        dead: What is wrong with the model of each finished fold, after its repeats; empty: nothing.
        collapsed: Why a training was repeated, once for each time.
        diverged: Trials of the search whose other folds were left out, and what was seen of them.
        repeats: How often the current training was begun again.
        thrown_away: Answers that have passed through models which were not kept.
        steps_before: Optimizer steps of the finished folds.
        answers: Answers that have passed through a model. Scores of an unfinished fold do not count: they are not saved.
        training: The newest saved state of the current training, which is that of fold number ``folds`` or, after all folds, the last one.
            It stays when the training has ended. None: nothing of this training is saved yet.
        form: How the rows of a training that starts from a base are made.
    """

    scores: Scores
    folds: int = 0
    held_back: Sequence[Sequence[PairScores]] = ()
    sampled: Sequence[Sequence[float]] = ()
    dead: Sequence[str] = ()
    collapsed: Sequence[str] = ()
    diverged: Sequence[tuple[int, str]] = ()
    repeats: int = 0
    thrown_away: int = 0
    steps_before: int = 0
    answers: int = 0
    training: TrainingState | None = None
    form: Form = Form.ONE_TEXT

    @classmethod
    def start(cls, evaluated: int) -> "Position":
        """The position of a retrain that has done nothing yet; ``evaluated`` is its number of evaluation pairs."""
        return cls(np.full((evaluated, 2), np.nan))

    @property
    def step(self) -> int:
        """Optimizer steps of all trainings, as far as they are saved."""
        return self.steps_before + (len(self.training.history) if self.training else 0)

    @property
    def left_out(self) -> tuple[int, ...]:
        """Numbers of the folds that were left out."""
        return tuple(number for number, rows in zip(range(self.folds), self.held_back, strict=False) if not rows)

    def held_back_by(self, folds: slice) -> list[PairScores]:
        """What the folds at these places make of the pairs that they have not seen."""
        return [one for rows in self.held_back[folds] for one in rows]

    def after_step(self, pairs: int) -> "Position":
        """One more optimizer step was taken, on ``pairs`` pairs."""
        return replace(self, answers=self.answers + 2 * pairs)

    def with_training(self, state: TrainingState) -> "Position":
        """The current training has reached ``state``, which may be its last."""
        return replace(self, training=state)

    def after_fold(self, held_back: Sequence[PairScores], sampled: Sequence[float] = (), dead: str = "") -> "Position":
        """The current fold is finished, with these scores and margins of the sample, by a model that is ``dead`` or not; the next training
        starts afresh.
        """
        return replace(
            self,
            folds=self.folds + 1,
            held_back=(*self.held_back, tuple(held_back)),
            sampled=(*self.sampled, sampled),
            dead=(*self.dead, dead),
            steps_before=self.step,
            answers=self.answers + 2 * (len(held_back) + len(sampled)),
            repeats=0,
            training=None,
        )

    def after_collapse(self, why: str) -> "Position":
        """The current training gave no usable model: it starts afresh, and what its model has scored is forgotten."""
        learnt = sum(step.pairs for step in self.training.history) if self.training else 0
        return replace(
            self,
            collapsed=(*self.collapsed, why),
            repeats=self.repeats + 1,
            thrown_away=self.thrown_away + 2 * learnt + count_known(self.scores),
            steps_before=self.step,
            scores=np.full_like(self.scores, np.nan),
            training=None,
        )

    def after_divergence(self, trial: int, why: str, folds: int, kept: int) -> "Position":
        """A training of a trial has diverged: the rest of the trial is left out, up to fold number ``folds``.

        Args:
            trial: Number of the trial.
            why: What was seen.
            folds: Where the next trial begins.
            kept: Answers that have passed through the models of finished folds.
        """
        skipped = folds - self.folds
        return replace(
            self,
            folds=folds,
            held_back=(*self.held_back, *((),) * skipped),
            sampled=(*self.sampled, *((),) * skipped),
            dead=(*self.dead, *("",) * skipped),
            diverged=(*self.diverged, (trial, why)),
            repeats=0,
            thrown_away=self.answers - kept,
            steps_before=self.step,
            training=None,
        )

    def with_scores(self, first: int, known: Scores) -> "Position":
        """The evaluation pairs from number ``first`` on have the scores ``known``."""
        scores = self.scores.copy()
        scores[first : first + len(known)] = known
        return replace(self, scores=scores, answers=self.answers + count_known(scores) - count_known(self.scores))

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the files of a checkpoint into a folder; returns them by name."""
        files = {name: folder / name for name in ("progress.json", "scores.npy")}
        scores = [[[one.id, one.score_1, one.score_2, one.tokens_1, one.tokens_2] for one in rows] for rows in self.held_back]
        numbers = {
            "folds": self.folds,
            "heldBack": scores,
            "sampled": [list(row) for row in self.sampled],
            "dead": list(self.dead),
            "collapsed": list(self.collapsed),
            "diverged": list(self.diverged),
            "repeats": self.repeats,
            "thrownAway": self.thrown_away,
            "stepsBefore": self.steps_before,
            "answers": self.answers,
            "form": self.form,
        }
        files["progress.json"].write_text(json.dumps(numbers), encoding="utf-8")
        np.save(files["scores.npy"], self.scores, allow_pickle=False)
        return files | (self.training.write(folder) if self.training else {})

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> "Position":
        """Read what `write` wrote."""
        numbers = json.loads(files["progress.json"].read_text(encoding="utf-8"))
        return cls(
            scores=np.load(files["scores.npy"], allow_pickle=False),
            folds=numbers["folds"],
            held_back=_held_back(numbers),
            sampled=tuple(map(tuple, numbers.get("sampled", ()))),
            dead=tuple(numbers.get("dead", [""] * numbers["folds"])),  # earlier versions did not say
            collapsed=tuple(numbers.get("collapsed", ())),
            diverged=tuple((trial, why) for trial, why in numbers.get("diverged", ())),
            repeats=numbers.get("repeats", len(numbers.get("collapsed", ()))),  # once the last training alone was repeated
            thrown_away=numbers.get("thrownAway", 0),
            steps_before=numbers["stepsBefore"],
            answers=numbers["answers"],
            form=Form(numbers.get("form", Form.TWO_TEXTS)),  # version 0.1.0 did not say
            training=TrainingState.read(files["history.json"].parent) if "history.json" in files else None,
        )


def _held_back(numbers: Mapping[str, Any]) -> Sequence[Sequence[PairScores]]:
    """The scores in a checkpoint; one of version 0.1.0 has the margins alone, those of all folds together."""
    if "heldBack" in numbers:
        return tuple(tuple(PairScores(*row) for row in rows) for rows in numbers["heldBack"])
    return (tuple(PairScores(name, margin, 0.0, 0, 0) for name, margin in numbers["margins"].items()),)


def count_known(scores: Scores) -> int:
    """Number of answers that have a score."""
    return int(np.count_nonzero(~np.isnan(scores)))
