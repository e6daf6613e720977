"""The stage `label`: the reward model scores both answers of every pair of the pool."""

from collections.abc import Sequence

import numpy as np

from ser_core.api.serrun import Rule
from ser_core.api.stage import InputRole, LabelMetrics
from ser_core.data.tables import Decision, PairScores, PoolPair, read_table, write_table
from ser_core.errors import Interrupted
from ser_core.learn.precision import detect, set_up_process
from ser_core.learn.reward_model import load
from ser_core.learn.scoring import Scores, score_pairs
from ser_jobs.checkpoint_interval import CheckpointInterval
from ser_jobs.context import StageContext, StageOutput


def body(context: StageContext) -> StageOutput:
    """Score the pool, batch by batch; a checkpoint holds the scores so far.

    Raises:
        QualityError: A score is not finite.
        Interrupted: Asked to stop; a checkpoint was saved.
    """
    set_up_process(context.spec.threads)
    spec = context.spec.spec
    pool = _pool(context)
    known = _resume(context, len(pool))
    interval = CheckpointInterval()
    files = context.fetch_folder(InputRole.LABELER, "model")
    context.silent("loading the model")
    model = load(files, detect(spec.reward_model.precision), max_length=spec.reward_model.max_length)

    def after_batch(_answers: int) -> None:
        answers = int(np.count_nonzero(~np.isnan(known)))
        context.reporter.progress(answers // 2, len(pool), "pairs")
        if context.stopping():
            _save(context, known, answers)
            raise Interrupted(f"stopped after {answers // 2} of {len(pool)} pairs", hint="start it again to go on from there")
        if interval.due():
            interval.measure(lambda: _save(context, known, answers))

    scores, truncated = score_pairs(model, pool, spec.training.tokens_per_batch, known, after_batch)
    context.silent("writing the labels")
    path = context.workdir / "labels.parquet"
    write_table(path, PairScores, scores)
    return StageOutput({"labels.parquet": path}, LabelMetrics(labeled=len(scores), truncated=truncated))


def _pool(context: StageContext) -> Sequence[PoolPair]:
    """All of the pool; under rule `reference` what the loops before have left of it."""
    pool = read_table(context.fetch(InputRole.PREPARED, "pool.parquet"), PoolPair)
    if context.spec.spec.loop.rule is not Rule.REFERENCE or InputRole.KEPT_BEFORE not in context.inputs:
        return pool
    left = {one.id for one in read_table(context.fetch(InputRole.KEPT_BEFORE, "decisions.parquet"), Decision) if not one.kept}
    return [pair for pair in pool if pair.id in left]


def _resume(context: StageContext, pairs: int) -> Scores:
    saved = context.checkpoints.newest(context.workdir)
    if saved is None:
        return np.full((pairs, 2), np.nan)
    scores: Scores = np.load(saved[1]["scores.npy"], allow_pickle=False)
    return scores


def _save(context: StageContext, known: Scores, answers: int) -> None:
    context.silent("saving a checkpoint")
    path = context.workdir / "scores.npy"
    np.save(path, known, allow_pickle=False)
    context.checkpoints.save(answers, {"scores.npy": path})
