"""What a process reports of a stage's end: results, errors as results, and the termination message."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ser_core.api.stage import MAX_RESULT_BYTES, NOT_TAKEN_OVER, TAKEN_OVER, ManifestRef, PrepareMetrics, StageResult
from ser_core.api.status import StageKind
from ser_core.errors import Interrupted, NodeDiskFull, SERError, is_disk_full
from ser_core.memory.plan import StagePlan
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.commit import Committed
from ser_core.store.stages.manifest import Manifest
from ser_jobs.telemetry.memory import out_of_memory


def as_ser_error(error: Exception, stage: StageKind, planned: StagePlan | None = None) -> SERError:
    """What went wrong as an error with an exit code; ``planned``: the memory that the stage was found to need."""
    if isinstance(error, SERError):
        return error
    if is_disk_full(error):
        told = str(error).split("\n")[0]
        return NodeDiskFull(f"the disk of {os.environ.get('SER_WORKDIR', tempfile.gettempdir())} is full: {told}", hint="free space there")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return out_of_memory(error, stage, planned)
    return SERError(
        f"{type(error).__name__}: {error}", reason=type(error).__name__, hint="this is a defect of the program: the log has the traceback"
    )


def done(manifest: Manifest, ref: ManifestRef) -> StageResult:
    """The result of a committed stage, and what came of `spec.from`."""
    looked = manifest.take_over
    if looked is None:
        misfits = "; ".join(manifest.metrics.misfits) if isinstance(manifest.metrics, PrepareMetrics) else ""
        return StageResult(outcome="done", manifest=ref, metrics=manifest.metrics, message=misfits[:900])
    reason = NOT_TAKEN_OVER if looked.manifest is None else TAKEN_OVER
    return StageResult(outcome="done", manifest=ref, metrics=manifest.metrics, reason=reason, message=looked.told[:900])


def outcome(committed: Committed) -> StageResult:
    """The result of an attempt that has computed or taken over: another one may have committed first."""
    result = done(committed.manifest, committed.ref)
    return result if committed.won else result.model_copy(update={"outcome": "superseded"})


def failure(error: SERError, checkpoints: CheckpointStore | None) -> StageResult:
    """The result of an attempt that has failed or was interrupted."""
    step = None
    if checkpoints is not None:
        try:
            step = checkpoints.newest_step()
        except SERError:
            step = None  # the store does not answer; the first error is the one to report
    return StageResult(
        outcome="interrupted" if isinstance(error, Interrupted) else "failed",
        reason=error.reason[:64],
        message=error.message[:900],
        hint=(error.hint or "")[:300],
        checkpoint_step=step,
    )


def report(path: str | None, result: StageResult) -> None:
    """Write the termination message; None: nobody reads it."""
    if path is None:
        return
    text = result.model_dump_json(by_alias=True)
    if len(text.encode()) > MAX_RESULT_BYTES and result.metrics is not None:
        # The manifest keeps the fields that do not fit. The planner needs none of them.
        dropped: dict[str, Any] = {"notes": (), "warnings": (), "misfits": (), "dropped": {}}
        short = {name: empty for name, empty in dropped.items() if name in type(result.metrics).model_fields}
        text = result.model_copy(update={"metrics": result.metrics.model_copy(update=short)}).model_dump_json(by_alias=True)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        if not is_disk_full(error):
            raise
        print("error: the report cannot be written, since the disk is full", file=sys.stderr)  # the exit code and the store still tell
