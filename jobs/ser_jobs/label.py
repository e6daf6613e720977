"""The stage `label`: the reward model scores both answers of every pair in the pool.

A checkpoint holds the scores so far. Scores do not depend on what they are computed with, so a resumed stage just computes the missing ones.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_core.api.serrun import Rule
from ser_core.api.stage import InputRole, LabelMetrics
from ser_core.data.tables import Decision, PairScores, PoolPair, read_table, write_table
from ser_core.errors import Interrupted
from ser_core.learn.precision import detect, set_up_process
from ser_core.learn.reward_model import load
from ser_core.learn.scoring import score_pairs
from ser_jobs.checkpoint_interval import CheckpointInterval
from ser_jobs.context import StageContext, StageOutput

PAIRS_AT_ONCE = 4096
"""Pairs that are tokenised and sorted by length together: it bounds the memory, and sorting more of them saves no padding."""


def body(context: StageContext) -> StageOutput:
    """Write one `PairScores` a pair of the pool.

    Raises:
        QualityError: A score is not finite.
        Interrupted: Asked to stop; the scores so far were saved.
    """
    spec = context.spec.spec
    set_up_process(context.spec.threads)
    precision = detect(spec.reward_model.precision)
    context.reporter.event("computing", device=precision.device, autocast=str(precision.autocast or "off"), note=precision.note)
    model = load(context.fetch_folder(InputRole.LABELER, "model"), precision, max_length=spec.reward_model.max_length)
    pool = _pool(context)
    progress = _Progress(context, len(pool))
    labels, truncated = list[PairScores](), 0
    for start in range(0, len(pool), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        scored, cut = score_pairs(model, pool[part], spec.training.tokens_per_batch, progress.scores[part], progress.after_batch)
        labels += scored
        truncated += cut
    path = context.workdir / "labels.parquet"
    write_table(path, PairScores, labels)
    return StageOutput({"labels.parquet": path}, LabelMetrics(labeled=len(labels), truncated=truncated))


def _pool(context: StageContext) -> Sequence[PoolPair]:
    """The pairs to label; under the rule `reference` those that the loop before looked at and did not keep."""
    pool = read_table(context.fetch(InputRole.PREPARED, "pool.parquet"), PoolPair)
    if context.spec.spec.loop.rule is not Rule.REFERENCE or InputRole.KEPT_BEFORE not in context.inputs:
        return pool
    decisions = read_table(context.fetch(InputRole.KEPT_BEFORE, "decisions.parquet"), Decision)
    left = {decision.id for decision in decisions if not decision.kept}
    return [pair for pair in pool if pair.id in left]


class _Progress:
    """The scores so far, shape (pairs, 2), NaN where there is none yet; shown, and saved from time to time."""

    def __init__(self, context: StageContext, pairs: int) -> None:
        self._context = context
        self._interval = CheckpointInterval()
        self.scores: NDArray[np.float64] = np.full((pairs, 2), np.nan)
        saved = context.checkpoints.newest(context.workdir)
        if saved is not None:
            self.scores = np.load(saved[1]["scores.npy"], allow_pickle=False)
            context.reporter.event("resumed", step=saved[0])
        self._done = int(np.count_nonzero(~np.isnan(self.scores)))
        context.reporter.progress(self._done // 2, pairs, "pairs")

    def after_batch(self, answers: int) -> None:
        self._done += answers
        pairs = self._done // 2
        self._context.reporter.progress(pairs, len(self.scores), "pairs")
        if self._context.stopping():
            self._save()
            raise Interrupted(f"stopped after {pairs} of {len(self.scores)} pairs", hint="start it again to go on from there")
        if self._interval.due():
            self._interval.measure(self._save)

    def _save(self) -> None:
        path = self._context.workdir / "scores.npy"
        np.save(path, self.scores, allow_pickle=False)
        self._context.checkpoints.save(self._done // 2, {"scores.npy": path})
