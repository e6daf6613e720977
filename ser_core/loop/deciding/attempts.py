"""Attempts of a stage: what an ended one means, whether it is charged, and whether there is another one.

Every decision is read from the stage's recorded attempts, so nothing has to be remembered beside them.

| an attempt that ended with | is | charged | and then |
|---|---|---|---|
| a result with a manifest | Done | | |
| success, or nothing known, and no result | Lost | when a report finds no manifest | `mode: report` |
| exit 143, a disruption, or after it was asked to stop | Interrupted | the third in a row without a newer checkpoint | at once |
| exit 10 to 19, or another stage's manifest | Failed | yes | never |
| exit 21, out of memory | Failed | yes | after a pause, once, with half of the tokens per batch |
| the rest of exit 20 to 29 | Failed | yes | after a pause, up to three charged attempts |
| anything else | Failed | yes | the same, but never after twice the same at the same checkpoint |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ser_core.api.model import Model
from ser_core.api.stage import (
    FilterMetrics,
    LabelMetrics,
    ManifestRef,
    PolicyMetrics,
    PrepareMetrics,
    RetrainMetrics,
    StageMetrics,
    StageResult,
    SupervisedMetrics,
)
from ser_core.api.status import Outcome, SERRunStatus, StageKind, StageStatus
from ser_core.errors import EXIT_NOTHING_TO_REPORT, Interrupted, OutOfMemory
from ser_core.loop.deciding.stages import StageKey, key_of, resource_kind
from ser_core.loop.deciding.token_budget import more_memory, ran_out_of_memory
from ser_core.loop.observed import ObservedAttempt
from ser_core.loop.text import as_reason, clip, read_time, write_time

MAX_CHARGED = 3
MAX_UNCHARGED_WITHOUT_PROGRESS = 3
FIRST_PAUSE = timedelta(seconds=10)
"""Pause after the first charged failure of a stage; it doubles with each further one."""
NEVER_RETRIED = range(10, 20)
RETRIED = range(20, 30)

RESULT_LOST = "ResultLost"
RESULT_MISMATCH = "ResultMismatch"
NOTHING_TO_REPORT = "NothingToReport"

_METRICS: dict[StageKind, type[Model]] = {
    StageKind.PREPARE: PrepareMetrics,
    StageKind.LABEL: LabelMetrics,
    StageKind.FILTER: FilterMetrics,
    StageKind.SFT: SupervisedMetrics,
    StageKind.PPO: PolicyMetrics,
}
_MANIFEST_LENGTH = 1200
_DIGEST_LENGTH = 64


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The attempt that a stage has next."""

    number: int
    mode: Literal["execute", "report"]
    not_before: datetime | None
    """End of the pause after a failure; None: at once."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stage, and with it the run, has failed."""

    reason: str
    message: str


def attempts_of(status: SERRunStatus, key: StageKey) -> tuple[StageStatus, ...]:
    """The recorded attempts of a stage, oldest first."""
    return tuple(row for row in status.stages if key_of(row) == key)


def end_attempt(row: StageStatus, seen: ObservedAttempt | None, earlier: Sequence[StageStatus], now: datetime) -> StageStatus:
    """``row`` with what its end means.

    Args:
        row: A live attempt. Its reason is not empty when it was asked to stop.
        seen: What the executor saw of its end; None: it is gone.
        earlier: The attempts of the stage before it.
        now: Used as the end when nobody saw it.
    """
    result = seen.result if seen is not None else None
    code = _exit_code(seen)
    ended = row.model_copy(
        update={
            "exit_code": code,
            "finished_at": write_time((seen.finished_at if seen is not None else None) or now),
            "checkpoint_step": result.checkpoint_step if result is not None else None,
        }
    )
    if result is not None and result.outcome in ("done", "superseded"):
        return _committed(ended, result)
    if row.mode == "report" and (code == EXIT_NOTHING_TO_REPORT or (result is not None and result.outcome == "absent")):
        return _with(ended, Outcome.FAILED, NOTHING_TO_REPORT, "the stage has no manifest")
    if code in NEVER_RETRIED:
        return _failed(ended, result)
    disruption = seen.disruption if seen is not None else ""
    if row.reason or code == Interrupted.exit_code or disruption:
        told = "; ".join(filter(None, (disruption, result.message if result is not None else "")))
        interrupted = _with(ended, Outcome.INTERRUPTED, row.reason or Interrupted.__name__, told)
        return interrupted.model_copy(update={"charged": _uncharged_in_vain((*earlier, interrupted)) >= MAX_UNCHARGED_WITHOUT_PROGRESS})
    if result is None and not code:
        lost = _with(ended, Outcome.LOST, RESULT_LOST, "the attempt has ended and its result is lost")
        return lost.model_copy(update={"charged": row.mode == "report"})
    return _failed(ended, result)


def charge_lost(rows: Sequence[StageStatus]) -> tuple[StageStatus, ...]:
    """``rows`` of one stage, the lost ones charged once a report has found that they left no manifest."""
    if not rows or not _found_nothing(rows[-1]):
        return tuple(rows)
    return tuple(row.model_copy(update={"charged": True}) if row.outcome is Outcome.LOST else row for row in rows)


def next_attempt(rows: Sequence[StageStatus]) -> NextAttempt:
    """What follows the ended attempts ``rows`` of a stage that is neither committed nor failed."""
    if not rows:
        return NextAttempt(1, "execute", None)
    last = rows[-1]
    unanswered = last.outcome is Outcome.LOST or (last.mode == "report" and not _found_nothing(last))
    pause = None
    if last.outcome is Outcome.FAILED and last.charged and not last.forgiven and last.finished_at:
        charged = sum(row.charged and not row.forgiven for row in rows)
        pause = read_time(last.finished_at) + FIRST_PAUSE * 2 ** (charged - 1)
    return NextAttempt(last.attempt + 1, "report" if unanswered else "execute", pause)


def failure(rows: Sequence[StageStatus]) -> Failure | None:
    """Why the stage with the ended attempts ``rows`` is not tried again; None: it is."""
    tries = [row for row in rows if not _found_nothing(row) and not row.forgiven]
    if not tries:
        return None
    last = tries[-1]
    told = last.message or f"it ended with exit code {last.exit_code}"
    if last.outcome is Outcome.FAILED:
        if last.exit_code in NEVER_RETRIED or last.reason == RESULT_MISMATCH:
            return Failure(last.reason, told)
        if last.exit_code not in RETRIED and len(tries) > 1 and _same_failure(tries[-2], last):
            return Failure(last.reason, f"failed twice in the same way: {told}")
        if sum(map(ran_out_of_memory, tries)) > 1:
            return Failure(last.reason, f"ran out of memory twice: {told}; {more_memory(resource_kind(last.stage), last)}")
    charged = [row for row in tries if row.charged]
    if len(charged) >= MAX_CHARGED:
        return Failure(last.reason, f"{len(charged)} charged attempts, the last one: {told}")
    return None


def counted(row: StageStatus, rows: Sequence[StageStatus]) -> bool:
    """Whether forgetting ``row`` could change a decision about its stage, whose attempts are ``rows``."""
    return (row.charged and not row.forgiven) or row in rows[-MAX_UNCHARGED_WITHOUT_PROGRESS:]


def _exit_code(seen: ObservedAttempt | None) -> int | None:
    if seen is None:
        return None
    return OutOfMemory.exit_code if seen.out_of_memory else seen.exit_code


def _committed(row: StageStatus, result: StageResult) -> StageStatus:
    manifest, metrics = result.manifest, result.metrics
    problem = _mismatch(row, manifest, metrics)
    if problem or manifest is None:
        return _with(row, Outcome.FAILED, RESULT_MISMATCH, problem).model_copy(update={"charged": True})
    done = _with(row, Outcome.DONE, "", "")
    steps = metrics.steps if isinstance(metrics, RetrainMetrics | SupervisedMetrics | PolicyMetrics) else None
    return done.model_copy(update={"manifest": manifest.uri, "manifest_sha256": manifest.sha256, "steps": steps})


def _mismatch(row: StageStatus, manifest: ManifestRef | None, metrics: StageMetrics | None) -> str:
    """What is wrong with a reported manifest; empty: nothing."""
    if manifest is None or metrics is None:
        return f"{key_of(row)} says that it is done without {'a manifest' if manifest is None else 'metrics'}"
    if (manifest.stage, manifest.iteration) != (row.stage, row.iteration):
        return f"{key_of(row)} reports the manifest of {manifest.stage.value} of loop {manifest.iteration}"
    expected = _METRICS.get(row.stage, RetrainMetrics)
    if not isinstance(metrics, expected):
        return f"{key_of(row)} reports the metrics of a {metrics.kind} stage"
    if len(manifest.uri) > _MANIFEST_LENGTH or len(manifest.sha256) != _DIGEST_LENGTH:
        return f"{key_of(row)} reports an unusable manifest: {len(manifest.uri)} characters of URI, {len(manifest.sha256)} of digest"
    return ""


def _failed(row: StageStatus, result: StageResult | None) -> StageStatus:
    if result is None or not result.reason:
        code = row.exit_code
        reason, told = f"ExitCode{code}".replace("-", "Minus"), f"ended with exit code {code} and no report"
        if code == OutOfMemory.exit_code:
            reason, told = OutOfMemory.__name__, "it was killed because its memory was used up"
        return _with(row, Outcome.FAILED, reason, told).model_copy(update={"charged": True})
    message = f"{result.message}; {result.hint}" if result.hint else result.message
    return _with(row, Outcome.FAILED, result.reason, message).model_copy(update={"charged": True})


def _with(row: StageStatus, outcome: Outcome, reason: str, message: str) -> StageStatus:
    return row.model_copy(update={"outcome": outcome, "reason": as_reason(reason) if reason else "", "message": clip(message)})


def _found_nothing(row: StageStatus) -> bool:
    return row.mode == "report" and row.reason == NOTHING_TO_REPORT


def _same_failure(one: StageStatus, other: StageStatus) -> bool:
    return one.outcome is other.outcome and (one.reason, one.exit_code, one.checkpoint_step) == (
        other.reason,
        other.exit_code,
        other.checkpoint_step,
    )


def _uncharged_in_vain(rows: Sequence[StageStatus]) -> int:
    """Interrupted, uncharged attempts in a row, up to the last, without a checkpoint newer than all before."""
    count = 0
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        if row.outcome is not Outcome.INTERRUPTED or row.charged or row.forgiven:
            break
        before = [earlier.checkpoint_step for earlier in rows[:index] if earlier.checkpoint_step is not None]
        if row.checkpoint_step is not None and row.checkpoint_step > max(before, default=-1):
            break
        count += 1
    return count
