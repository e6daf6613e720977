"""The stage `label`: the reward model scores both answers of every pair of the pool.

Each of several processes scores a part of the pool; the processes do not communicate. The process that finds all parts scored puts them
together. A score does not depend on the other pairs of its batch, so the labels are the same for any number of processes.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ser_core.api.serrun import Rule
from ser_core.api.stage import InputRole, LabelMetrics
from ser_core.data.tables import Decision, PairScores, PoolPair, read_table, write_table
from ser_core.errors import Interrupted, ObjectNotFound
from ser_core.learn.compute.precision import detect, gpu_memory, set_up_process
from ser_core.learn.reward.batching import deal
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.scoring import Scores, score_pairs
from ser_core.store.checkpoints import CheckpointStore
from ser_core.store.shards import Shard, ShardStore
from ser_jobs.process.context import StageContext, StageOutput
from ser_jobs.stages.checkpoint_interval import CheckpointInterval
from ser_jobs.stages.memory_check import refuse_what_does_not_fit

_LABELS, _TRUNCATED = "labels.parquet", "truncated"


def body(context: StageContext) -> StageOutput | None:
    """Score the pool, batch by batch; a checkpoint holds the scores so far.

    Returns:
        The labels; None if other processes still score their parts: the last of them commits the labels.

    Raises:
        QualityError: A score is not finite.
        Interrupted: Asked to stop; a checkpoint was saved.
    """
    set_up_process(context.spec.threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(context.local_rank)
    pool = _pool(context)
    if context.world_size == 1:
        return _output(context, *_score(context, pool, context.checkpoints))
    shard = Shard(context.rank, context.world_size)
    shards = ShardStore(context.store, context.checkpoints, context.spec.attempt, uuid.uuid4().hex)
    if not shards.has(shard):
        own = [pool[index] for index in deal([_size(pair) for pair in pool], shard.count)[shard.index]]
        scores, truncated = _score(context, own, context.checkpoints.of(str(shard)))
        context.silent("committing a part of the labels")
        shards.commit(shard, {_LABELS: _write(context, scores)}, {_TRUNCATED: truncated})
    context.silent("putting the labels together")
    try:
        found = shards.collect(shard, context.workdir)
    except ObjectNotFound:
        return None
    if found is None:
        return None
    scores = _in_order(pool, [part.files[_LABELS] for part in found])
    return _output(context, scores, sum(part.counts[_TRUNCATED] for part in found))


def _size(pair: PoolPair) -> int:
    """Length of a pair in characters, in place of tokens: to count those, every process would have to encode the whole pool."""
    return 2 * len(pair.prompt) + len(pair.answer_1) + len(pair.answer_2)


def _score(context: StageContext, pairs: Sequence[PoolPair], checkpoints: CheckpointStore) -> tuple[list[PairScores], int]:
    spec = context.spec.spec
    known = _resume(checkpoints, context.workdir, len(pairs))
    interval = CheckpointInterval(lambda: checkpoints.beside)
    files = context.fetch_folder(InputRole.LABELER, "model")
    context.silent("loading the model")
    refuse_what_does_not_fit("label", spec, {"reward": files}, processes=context.world_size, gpu_memory=gpu_memory())
    model = load(files, detect(spec.reward_model.precision), max_length=spec.reward_model.max_length, frozen=True)

    def save(answers: int) -> None:
        context.silent("saving a checkpoint")
        path = context.workdir / "scores.npy"
        np.save(path, known, allow_pickle=False)
        checkpoints.save(answers, {"scores.npy": path})
        interval.saved()

    def after_batch(_answers: int) -> None:
        answers = int(np.count_nonzero(~np.isnan(known)))
        context.reporter.progress(answers // 2, len(pairs), "pairs")
        if context.stopping():
            save(answers)
            raise Interrupted(f"stopped after {answers // 2} of {len(pairs)} pairs", hint="start it again to go on from there")
        if interval.due():
            save(answers)

    return score_pairs(model, pairs, spec.training.tokens_per_batch, known, after_batch)


def _in_order(pool: Sequence[PoolPair], paths: Sequence[Path]) -> list[PairScores]:
    scores = {one.id: one for path in paths for one in read_table(path, PairScores)}
    return [scores[pair.id] for pair in pool]


def _output(context: StageContext, scores: Sequence[PairScores], truncated: int) -> StageOutput:
    context.silent("writing the labels")
    return StageOutput({_LABELS: _write(context, scores)}, LabelMetrics(labeled=len(scores), truncated=truncated))


def _write(context: StageContext, scores: Sequence[PairScores]) -> Path:
    path = context.workdir / _LABELS
    write_table(path, PairScores, scores)
    return path


def _pool(context: StageContext) -> Sequence[PoolPair]:
    """The pool; under rule `reference` without the pairs that earlier loops kept."""
    pool = read_table(context.fetch(InputRole.PREPARED, "pool.parquet"), PoolPair)
    if context.spec.spec.loop.rule is not Rule.REFERENCE or InputRole.KEPT_BEFORE not in context.inputs:
        return pool
    left = {one.id for one in read_table(context.fetch(InputRole.KEPT_BEFORE, "decisions.parquet"), Decision) if not one.kept}
    return [pair for pair in pool if pair.id in left]


def _resume(checkpoints: CheckpointStore, folder: Path, pairs: int) -> Scores:
    saved = checkpoints.newest(folder)
    if saved is None:
        return np.full((pairs, 2), np.nan)
    scores: Scores = np.load(saved[1]["scores.npy"], allow_pickle=False)
    return scores
