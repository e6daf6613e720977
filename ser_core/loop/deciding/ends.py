"""What the end of an attempt means: what it has committed, or why it has not and whether that is charged.

| an attempt that ended with | is | charged |
|---|---|---|
| a result with a manifest | Done | |
| exit 143, a disruption, or after it was asked to stop | Interrupted | never |
| success or nothing known, and no result | Lost: a report looks for the manifest | without a manifest, if it had ended with success |
| anything else | Failed | as its fault says (`faults`) |
"""

from collections.abc import Sequence
from datetime import datetime

from ser_core.api.model import Model
from ser_core.api.stage import (
    NOT_TAKEN_OVER,
    TAKEN_OVER,
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
from ser_core.api.status import Outcome, StageKind, StageStatus
from ser_core.errors import EXIT_NOTHING_TO_REPORT, Interrupted, OutOfMemory
from ser_core.loop.deciding.faults import (
    DISK_LIMIT_EXCEEDED,
    NO_RESULT,
    NOTHING_TO_REPORT,
    RESULT_LOST,
    RESULT_MISMATCH,
    SER_RUN_ENDED,
    Fault,
    fault_of,
)
from ser_core.loop.deciding.stages import key_of
from ser_core.loop.observed import ObservedAttempt
from ser_core.loop.text import as_reason, clip, write_time

_CERTAIN = range(10, 20)
"""Exit codes of a stage that knows why it failed, and would fail so again."""

_CHARGED = (Fault.UNKNOWN, Fault.MEMORY, Fault.INPUTS)
_METRICS: dict[StageKind, type[Model]] = {
    StageKind.PREPARE: PrepareMetrics,
    StageKind.LABEL: LabelMetrics,
    StageKind.FILTER: FilterMetrics,
    StageKind.SFT: SupervisedMetrics,
    StageKind.PPO: PolicyMetrics,
}
_MANIFEST_LENGTH = 1200
_DIGEST_LENGTH = 64
_NODE_BYTES = 253


def end_attempt(row: StageStatus, seen: ObservedAttempt | None, now: datetime) -> StageStatus:
    """``row`` with what its end means.

    Args:
        row: A live attempt. Its reason is not empty when it was asked to stop.
        seen: What the executor saw of its end; None: it is gone.
        now: Used as the end when nobody saw it.
    """
    seen = seen or ObservedAttempt(row.iteration, row.stage, row.attempt, row.job, "failed")
    result, code = seen.result, OutOfMemory.exit_code if seen.out_of_memory else seen.exit_code
    ended = row.model_copy(
        update={
            "exit_code": code,
            "finished_at": write_time(seen.finished_at or now),
            "checkpoint_step": result.checkpoint_step if result is not None else None,
        }
    )
    if result is not None and result.outcome in ("done", "superseded"):
        return _committed(ended, result)
    if row.mode == "report" and (code == EXIT_NOTHING_TO_REPORT or (result is not None and result.outcome == "absent")):
        told = result.message if result is not None else ""
        return _with(ended, Outcome.FAILED, NOTHING_TO_REPORT, told or "the stage has no manifest")
    return _without_manifest(ended.model_copy(update={"node": clip(seen.node, _NODE_BYTES)}), seen, result)


def found_nothing(row: StageStatus) -> bool:
    """Whether an attempt looked for a manifest, and there is none."""
    return row.mode == "report" and row.reason == NOTHING_TO_REPORT


def charge_lost(rows: Sequence[StageStatus]) -> tuple[StageStatus, ...]:
    """``rows`` of one stage, those that ended without a result charged once a report has found that they left no manifest."""
    if not rows or not found_nothing(rows[-1]):
        return tuple(rows)
    return tuple(row.model_copy(update={"charged": True}) if row.reason == NO_RESULT else row for row in rows)


def forgive(rows: Sequence[StageStatus]) -> tuple[StageStatus, ...]:
    """``rows`` of one stage, the earlier ones forgiven if the last one left a newer checkpoint than all of them.

    A lack of memory is remembered, since what followed it ran with half of the tokens per batch.
    """
    *earlier, last = rows
    newest = max((row.checkpoint_step for row in earlier if row.checkpoint_step is not None), default=-1)
    if last.checkpoint_step is None or last.checkpoint_step <= newest:
        return tuple(rows)
    return (*(row.model_copy(update={"forgiven": True}) if fault_of(row) is not Fault.MEMORY else row for row in earlier), last)


def _without_manifest(row: StageStatus, seen: ObservedAttempt, result: StageResult | None) -> StageStatus:
    """The first that applies: a certain answer; what we asked for; what the cluster did; what the stage says."""
    told = result.message if result is not None else ""
    if row.exit_code in _CERTAIN:
        return _failed(row, result)
    if row.reason:
        return _with(row, Outcome.INTERRUPTED, row.reason, told)
    return _by_cluster(row, seen, result) or _failed(row, result)


def _by_cluster(row: StageStatus, seen: ObservedAttempt, result: StageResult | None) -> StageStatus | None:
    """What the cluster did to the attempt; None: nothing."""
    if seen.over_disk_limit:
        return _charged(_with(row, Outcome.FAILED, DISK_LIMIT_EXCEEDED, seen.pod_message))
    if seen.disruption or row.exit_code == Interrupted.exit_code:
        reason = SER_RUN_ENDED if result is not None and result.reason == SER_RUN_ENDED else Interrupted.__name__
        told = result.message if result is not None else ""
        return _with(row, Outcome.INTERRUPTED, reason, "; ".join(filter(None, (seen.disruption, told))))
    if result is not None or seen.out_of_memory:
        return None
    if seen.pod_reason:
        return _charged(_with(row, Outcome.FAILED, seen.pod_reason, seen.pod_message))
    return None if row.exit_code else _lost(row)


def _lost(row: StageStatus) -> StageStatus:
    if row.exit_code is None:
        return _with(row, Outcome.LOST, RESULT_LOST, "the attempt is gone, and its result with it")
    return _with(row, Outcome.LOST, NO_RESULT, "the attempt has ended with success and without a result")


def _committed(row: StageStatus, result: StageResult) -> StageStatus:
    manifest, metrics = result.manifest, result.metrics
    problem = _mismatch(row, manifest, metrics)
    if problem or manifest is None:
        return _charged(_with(row, Outcome.FAILED, RESULT_MISMATCH, problem))
    looked = result.reason in (TAKEN_OVER, NOT_TAKEN_OVER)
    done = _with(row, Outcome.DONE, result.reason, result.message) if looked else _with(row, Outcome.DONE, "", "")
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
        return _charged(_with(row, Outcome.FAILED, *_unsaid(row.exit_code)))
    message = f"{result.message}; {result.hint}" if result.hint else result.message
    return _charged(_with(row, Outcome.FAILED, result.reason, message))


def _unsaid(code: int | None) -> tuple[str, str]:
    """Reason and message of an end without a report."""
    if code == OutOfMemory.exit_code:
        return OutOfMemory.__name__, "it was killed because its memory was used up"
    return f"ExitCode{code}".replace("-", "Minus"), f"ended with exit code {code} and no report"


def _charged(row: StageStatus) -> StageStatus:
    return row.model_copy(update={"charged": fault_of(row) in _CHARGED})


def _with(row: StageStatus, outcome: Outcome, reason: str, message: str) -> StageStatus:
    return row.model_copy(update={"outcome": outcome, "reason": as_reason(reason) if reason else "", "message": clip(message)})
