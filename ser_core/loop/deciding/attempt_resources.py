"""What an attempt has, and whether a run that failed for want of it has more now."""

from collections.abc import Sequence
from decimal import InvalidOperation

from ser_core.api.serrun import SERRun
from ser_core.api.status import AttemptResources, StageStatus
from ser_core.api.values.quantity import quantity
from ser_core.errors import RendezvousTimeout
from ser_core.loop.deciding.stages import StageKey, resources
from ser_core.loop.deciding.token_budget import computes_in_batches, halved, ran_out_of_memory, tokens_of

KILLED = 137
"""Exit code of a process that got SIGKILL. Where nobody says why, it was mostly for memory."""
_DOES_NOT_FIT = "DoesNotFit"
"""Reason of a stage whose plan no GPU holds."""
_NUMBER_OF_PROCESSES = ("UnevenShares", "WorldSizeChanged")
"""Reasons that go with another number of pods or GPUs."""


def attempt_resources(run: SERRun, key: StageKey, earlier: Sequence[StageStatus]) -> AttemptResources:
    """What an attempt of a stage gets now, after the attempts ``earlier``."""
    wanted = resources(run, key.stage)
    return AttemptResources(
        nodes=wanted.nodes,
        gpus=wanted.gpus,
        cpu=wanted.cpu,
        memory=wanted.memory,
        tokens_per_batch=tokens_of(run.spec, key.stage, gpus=wanted.gpus, half=halved(earlier)),
    )


def may_have_lacked(row: StageStatus) -> bool:
    """Whether an attempt failed in a way that other resources can mend."""
    return _lacked_memory(row) or row.reason in _NUMBER_OF_PROCESSES or row.exit_code == RendezvousTimeout.exit_code


def has_what_was_lacking(row: StageStatus, now: AttemptResources) -> bool:
    """Whether an attempt now has what the failed one ``row`` failed for want of. One without a record had the same."""
    had = row.resources
    if had is None or not may_have_lacked(row):
        return False
    if _lacked_memory(row):
        return (
            _more_memory(had, now)
            or _now_named(row, had, now)
            or (computes_in_batches(row.stage) and now.tokens_per_batch < had.tokens_per_batch)
        )
    if row.reason in _NUMBER_OF_PROCESSES:
        return (now.nodes, now.gpus) != (had.nodes, had.gpus)
    return now != had


def _lacked_memory(row: StageStatus) -> bool:
    return ran_out_of_memory(row) or row.exit_code == KILLED


def _more_memory(had: AttemptResources, now: AttemptResources) -> bool:
    unlimited = had.memory is not None and now.memory is None
    raised = had.memory is not None and now.memory is not None and _above(now.memory, had.memory)
    return unlimited or raised or now.gpus > had.gpus or now.nodes > had.nodes


def _now_named(row: StageStatus, had: AttemptResources, now: AttemptResources) -> bool:
    """Whether main memory is named for a stage that did not fit its GPUs: without a name its plan takes none in their place."""
    return row.reason == _DOES_NOT_FIT and had.memory is None and now.memory is not None


def _above(now: str, had: str) -> bool:
    """Whether a quantity is above another; anybody may have written the latter into the status."""
    try:
        return quantity(now) > quantity(had)
    except InvalidOperation:
        return False
