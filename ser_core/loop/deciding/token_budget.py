"""Tokens per batch of a stage's next attempt: half of the run's once an attempt has run out of memory (one such retry, no search)."""

from ser_core.api.serrun import CPU_TOKENS_PER_BATCH, MIN_TOKENS_PER_BATCH, SERRunSpec
from ser_core.api.status import StageKind, StageStatus
from ser_core.errors import OutOfMemory


def ran_out_of_memory(row: StageStatus) -> bool:
    """Whether an ended attempt needed more memory than it had."""
    return row.exit_code == OutOfMemory.exit_code


def computes_in_batches(stage: StageKind) -> bool:
    """Whether a stage computes in batches."""
    return stage not in (StageKind.PREPARE, StageKind.FILTER)


def with_half_batches(spec: SERRunSpec, stage: StageKind, *, gpus: int) -> SERRunSpec:
    """The spec as a stage reads it after it ran out of memory; the run's own is not changed.

    Args:
        spec: The run's.
        stage: Whose attempt it is.
        gpus: Of each pod. Without any, half is counted from what a CPU takes at most: half of a larger number would change nothing there.
    """
    if not computes_in_batches(stage):
        return spec
    training = spec.training
    tokens = training.tokens_per_batch if gpus else min(training.tokens_per_batch, CPU_TOKENS_PER_BATCH)
    half = max(MIN_TOKENS_PER_BATCH, tokens // 2)
    return spec.model_copy(update={"training": training.model_copy(update={"tokens_per_batch": half})})


def more_memory(field: str) -> str:
    """What to do about a stage that ran out of memory twice; ``field`` is its name in ``resources``."""
    policy = field in (StageKind.SFT, StageKind.PPO)
    length = "policy.promptTokens, policy.answerTokens" if policy else "rewardModel.maxLength"
    return f"raise resources.{field}.memory, or make a run with less training.tokensPerBatch or {length}"
