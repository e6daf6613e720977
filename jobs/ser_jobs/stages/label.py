"""The stage `label`: the reward model scores both answers of every pair of the pool; where it has fold models, each of these does.

Each of several processes scores a part of the pool. The process that finds all parts scored puts them together. A score does not depend on
the other pairs of its batch, so the labels are the same for any number of processes.

The processes do not communicate, unless a GPU has no room for the whole model: then those of one pod hold it together, a piece each, and
score in lock step.
"""

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ser_core.api.spec.loop import Rule
from ser_core.api.stage import InputRole, LabelMetrics
from ser_core.data.tables import Decision, FoldScores, PairScores, PoolPair, read_table, write_table
from ser_core.errors import Interrupted, ObjectNotFound
from ser_core.learn.compute import ranks
from ser_core.learn.compute.pieces import settle
from ser_core.learn.compute.precision import Precision, detect, set_up_process
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.reward.batching import deal
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.scoring import Scores, score_pairs
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.model_folder import FOLDS, MODEL
from ser_core.store.stages.shards import Shard, ShardResult, ShardStore
from ser_jobs.process.context import StageContext, StageOutput
from ser_jobs.training.checkpoint_interval import CheckpointInterval
from ser_jobs.training.memory_check import refuse_what_does_not_fit

_LABELS, _FOLD_LABELS, _TRUNCATED = "labels.parquet", "fold_labels.parquet", "truncated"


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores of some pairs."""

    labels: Sequence[PairScores]
    folds: Sequence[FoldScores]
    """Of each fold model, one after the other; none where the reward model itself labels."""
    truncated: int


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
    pool, pieces = _pool(context), _pieces(context)
    if context.world_size == 1:
        return _output(context, _score(context, pool, context.checkpoints))
    together = process_group(rank=context.local_rank, count=pieces) if pieces > 1 else contextlib.nullcontext()
    with together:
        return _by_parts(context, pool, in_pieces=pieces > 1)


def _by_parts(context: StageContext, pool: Sequence[PoolPair], *, in_pieces: bool) -> StageOutput | None:
    shard = Shard(context.rank, context.world_size)
    shards = ShardStore(context.store, context.checkpoints, context.spec.attempt, uuid.uuid4().hex)
    # A process whose part is committed already still has to hold its piece for the others.
    if in_pieces or not shards.has(shard):
        own = [pool[index] for index in deal([pair.characters for pair in pool], shard.count)[shard.index]]
        scored = _score(context, own, context.checkpoints.of(str(shard)), in_pieces=in_pieces)
        context.silent("committing a part of the labels")
        shards.commit(shard, _write(context, scored), {_TRUNCATED: scored.truncated})
    context.silent("putting the labels together")
    try:
        found = shards.collect(shard, context.workdir)
    except ObjectNotFound:
        return None
    return None if found is None else _output(context, _joined(pool, found))


def _score(context: StageContext, pairs: Sequence[PoolPair], checkpoints: CheckpointStore, *, in_pieces: bool = False) -> _Scored:
    folders, precision = _models(context), detect(context.spec.spec.reward_model.precision)
    known = _resume(checkpoints, context.workdir, len(folders), len(pairs))
    interval = CheckpointInterval(lambda: checkpoints.beside)

    def save(answers: int) -> None:
        context.silent("saving a checkpoint")
        path = context.workdir / "scores.npy"
        np.save(path, known, allow_pickle=False)
        checkpoints.save(answers, {"scores.npy": path})
        interval.saved()

    def after_batch(_answers: int) -> None:
        answers, total = int(np.count_nonzero(~np.isnan(known))), len(folders) * len(pairs)
        context.reporter.progress(answers // 2, total, "pairs")
        stopping = context.stopping()
        if ranks.anywhere(stopping, precision.device) if in_pieces else stopping:
            save(answers)
            if in_pieces:
                checkpoints.wait()
                ranks.meet(precision.device)
            raise Interrupted(f"stopped after {answers // 2} of {total} pairs", hint="start it again to go on from there")
        if interval.due():
            save(answers)

    tokens = context.tokens_per_batch
    scored = [
        score_pairs(_load(context, folder, precision, in_pieces=in_pieces), pairs, tokens, known[number], after_batch)
        for number, folder in enumerate(folders)
    ]
    by_model, truncated = [rows for rows, _ in scored], scored[0][1]
    means = known.mean(axis=0)
    labels = [replace(row, score_1=float(one), score_2=float(two)) for row, (one, two) in zip(by_model[0], means, strict=True)]
    crossed = enumerate(by_model if _is_cross_fitted(context) else ())
    return _Scored(labels, [FoldScores(row.id, fold, row.score_1, row.score_2) for fold, rows in crossed for row in rows], truncated)


def _is_cross_fitted(context: StageContext) -> bool:
    return bool(context.folders(InputRole.LABELER, FOLDS))


def _models(context: StageContext) -> list[str]:
    """Folders of what labels: the fold models, in their order; where there are none, the reward model."""
    return context.folders(InputRole.LABELER, FOLDS) or [MODEL]


def _pieces(context: StageContext) -> int:
    """Into how many pieces the model is cut; 1: each process holds it whole."""
    files = context.fetch_folder(InputRole.LABELER, _models(context)[0])
    plan = refuse_what_does_not_fit(context, {"reward": files})
    return 1 if plan is None else plan.pieces


def _load(context: StageContext, folder: str, precision: Precision, *, in_pieces: bool) -> RewardModel:
    files = context.fetch_folder(InputRole.LABELER, folder)
    context.silent("loading the model")
    model = load(files, precision, max_length=context.spec.spec.reward_model.max_length, frozen=True, together=True)
    settle(model.network, precision.device, in_pieces=in_pieces)
    return model


def _joined(pool: Sequence[PoolPair], parts: Sequence[ShardResult]) -> _Scored:
    """The parts of all processes as one, in the order of the pool."""
    labels = {one.id: one for part in parts for one in read_table(part.files[_LABELS], PairScores)}
    rows = [row for part in parts if _FOLD_LABELS in part.files for row in read_table(part.files[_FOLD_LABELS], FoldScores)]
    place = {pair.id: number for number, pair in enumerate(pool)}
    folds = sorted(rows, key=lambda row: (row.fold, place[row.id]))
    return _Scored([labels[pair.id] for pair in pool], folds, sum(part.counts[_TRUNCATED] for part in parts))


def _output(context: StageContext, scored: _Scored) -> StageOutput:
    context.silent("writing the labels")
    return StageOutput(_write(context, scored), LabelMetrics(labeled=len(scored.labels), truncated=scored.truncated))


def _write(context: StageContext, scored: _Scored) -> dict[str, Path]:
    files = {_LABELS: context.workdir / _LABELS}
    write_table(files[_LABELS], PairScores, scored.labels)
    if _is_cross_fitted(context):
        files[_FOLD_LABELS] = context.workdir / _FOLD_LABELS
        write_table(files[_FOLD_LABELS], FoldScores, scored.folds)
    return files


def _pool(context: StageContext) -> Sequence[PoolPair]:
    """The pool; under rule `reference` without the pairs that earlier loops kept."""
    pool = read_table(context.fetch(InputRole.PREPARED, "pool.parquet"), PoolPair)
    if context.spec.spec.loop.rule is not Rule.REFERENCE or InputRole.KEPT_BEFORE not in context.inputs:
        return pool
    left = {one.id for one in read_table(context.fetch(InputRole.KEPT_BEFORE, "decisions.parquet"), Decision) if not one.kept}
    return [pair for pair in pool if pair.id in left]


def _resume(checkpoints: CheckpointStore, folder: Path, models: int, pairs: int) -> Scores:
    """Scores so far: shape (models, pairs, 2)."""
    saved = checkpoints.newest(folder)
    if saved is None:
        return np.full((models, pairs, 2), np.nan)
    scores: Scores = np.load(saved[1]["scores.npy"], allow_pickle=False)
    return scores.reshape(models, pairs, 2)
