"""Tokens per batch of a stage's next attempt: half of the run's once an attempt has run out of memory (one such retry, no search)."""

from collections.abc import Iterable

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.training import CPU_TOKENS_PER_BATCH, MIN_TOKENS_PER_BATCH
from ser_core.api.status import StageKind, StageStatus
from ser_core.errors import OutOfMemory


def ran_out_of_memory(row: StageStatus) -> bool:
    """Whether an ended attempt needed more memory than it had."""
    return row.exit_code == OutOfMemory.exit_code


def computes_in_batches(stage: StageKind) -> bool:
    """Whether a stage computes in batches."""
    return stage not in (StageKind.PREPARE, StageKind.FILTER)


def halved(earlier: Iterable[StageStatus]) -> bool:
    """Whether the attempt after ``earlier``, those of its stage, gets half of the tokens."""
    return any(ran_out_of_memory(row) and not row.forgiven for row in earlier)


def tokens_of(spec: SERRunSpec, stage: StageKind, *, gpus: int, half: bool) -> int:
    """Tokens in one batch of an attempt.

    Args:
        spec: The run's.
        stage: Whose attempt it is.
        gpus: Of each pod. Without any, half is counted from what a CPU takes at most: half of a larger number would change nothing there.
        half: Whether the stage ran out of memory before.
    """
    tokens = spec.training.tokens_per_batch if gpus else min(spec.training.tokens_per_batch, CPU_TOKENS_PER_BATCH)
    return max(MIN_TOKENS_PER_BATCH, tokens // 2) if half and computes_in_batches(stage) else tokens


def with_half_batches(spec: SERRunSpec, stage: StageKind, *, gpus: int) -> SERRunSpec:
    """The spec as a stage reads it after it ran out of memory; the run's own is not changed. ``gpus`` as for `tokens_of`."""
    if not computes_in_batches(stage):
        return spec
    half = tokens_of(spec, stage, gpus=gpus, half=True)
    return spec.model_copy(update={"training": spec.training.model_copy(update={"tokens_per_batch": half})})


def more_memory(field: str, row: StageStatus) -> str:
    """What makes a run go on whose attempt ``row`` ran out of memory again; ``field`` is the stage's name in ``resources``."""
    had = row.resources
    more = f"raise resources.{field}.memory{' or gpus' if row.gpus else ''}"
    if had is None or not computes_in_batches(row.stage) or had.tokens_per_batch <= MIN_TOKENS_PER_BATCH:
        return more
    return f"{more}, or lower training.tokensPerBatch below {had.tokens_per_batch}"
