"""The stage runtime: one attempt of one stage, from its spec in the environment to its exit code.

In: ``SER_STAGE`` (the `StageSpec` as JSON). Out: the manifest, the `StageResult` in the file named by
``SER_TERMINATION_MESSAGE``, JSON events on standard output, the exit code (docs/architecture.md, `ser_core.errors`).

Several processes (`ranks`) all run the stage's body. The process whose body returns an output commits and reports it. A process that
fails reports its own failure.
"""

import contextlib
import importlib
import os
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ser_core.api.stage import StageResult, StageSpec
from ser_core.api.stage_wire import STAGE, STARTED_BY, read_stage_spec
from ser_core.api.status import StageKind
from ser_core.errors import EXIT_DONE, SERError, SpecError, StoreError, is_disk_full
from ser_core.store.objects.connect import connect
from ser_core.store.objects.retry import Retry
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.version import VERSION
from ser_jobs import ranks
from ser_jobs.process import input_folder
from ser_jobs.process.attempt import Attempt
from ser_jobs.process.background_checkpoints import BackgroundCheckpoints
from ser_jobs.process.context import StageBody, StageContext, StageOutput
from ser_jobs.process.credentials import load_credentials
from ser_jobs.process.result import as_ser_error, failure, outcome, report
from ser_jobs.process.stop_signal import StopSignal
from ser_jobs.telemetry import heartbeat, memory_plan, stacks
from ser_jobs.telemetry.heartbeat import Heartbeat
from ser_jobs.telemetry.metrics_exporter import Measurements, exposition
from ser_jobs.telemetry.progress_server import progress_server
from ser_jobs.telemetry.reporter import EventLog

BODIES: Mapping[StageKind, str] = {
    StageKind.PREPARE: "ser_jobs.stages.prepare",
    StageKind.LABEL: "ser_jobs.stages.label",
    StageKind.FILTER: "ser_jobs.stages.filter",
    StageKind.RETRAIN: "ser_jobs.stages.retrain",
    StageKind.SFT: "ser_jobs.stages.sft",
    StageKind.PPO: "ser_jobs.stages.ppo",
    StageKind.CONTROL_FULL: "ser_jobs.stages.retrain",
    StageKind.CONTROL_SEED_ONLY: "ser_jobs.stages.retrain",
    StageKind.CONTROL_PSEUDO_LABEL_ONCE: "ser_jobs.stages.retrain",
}
"""Module of each stage. It is imported only when the stage runs, so that report mode needs no torch."""


def main() -> int:
    """Run the stage that ``SER_STAGE`` describes and return the process's exit code."""
    stacks.dump_on_signal(os.environ)
    termination_message = os.environ.get("SER_TERMINATION_MESSAGE")
    try:
        spec = _read_spec(os.environ.get(STAGE))
        load_credentials(os.environ)
    except SERError as error:
        print(f"error: {error.message}", file=sys.stderr)
        report(termination_message, failure(error, None))
        return error.exit_code
    result, exit_code = _in_a_folder(spec)
    if result.manifest is not None or exit_code != EXIT_DONE:
        report(termination_message, result)
    return exit_code


def _in_a_folder(spec: StageSpec) -> tuple[StageResult, int]:
    """`run_stage` in a folder of its own, which a full disk may refuse to make."""
    prefix, parent = f"ser-{spec.stage}-", os.environ.get("SER_WORKDIR")
    try:
        with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as folder:
            return run_stage(spec, Path(folder))
    except OSError as error:
        if not is_disk_full(error):
            raise
        full = as_ser_error(error, spec.stage)
        return failure(full, None), full.exit_code


def run_stage(spec: StageSpec, folder: Path) -> tuple[StageResult, int]:
    """Run one attempt to its end. Every error becomes a result and an exit code; none escapes.

    Args:
        spec: What to do.
        folder: An empty folder for the inputs, the outputs and the log.
    """
    attempt: Attempt | None = None
    checkpoints: BackgroundCheckpoints | None = None
    here, started = ranks.from_environment(os.environ), datetime.now(UTC)
    pulse = heartbeat.from_environment(os.environ, has_steps=_has_steps(spec.stage))
    log = EventLog(folder / "log.jsonl", sys.stdout, pulse, here)
    plan = memory_plan.from_environment(os.environ)
    stop = StopSignal(raises=not _has_steps(spec.stage))
    try:
        stop.install()
        measurements = Measurements()
        store = connect(spec.spec.storage, Retry(retried=measurements.store_retried), stands=True)  # a folder has its run at least
        attempt = Attempt(spec, uuid.uuid4().hex, started, here, store, log)
        attempt, known = attempt.look(folder, pulse.silent)
        if known is not None:
            return attempt.with_stored(known[0]) if here.rank == 0 else known[0], known[1]
        checkpoints = BackgroundCheckpoints(CheckpointStore(store, spec.run, spec.iteration, spec.stage), folder / "checkpoints")
        log.event("started", stage=spec.stage, iteration=spec.iteration, attempt=spec.attempt, threads=spec.threads)
        context = StageContext(
            spec=spec,
            store=store,
            inputs=attempt.inputs,
            workdir=folder,
            reporter=log,
            stopping=stop.received,
            checkpoints=checkpoints,
            rank=here.rank,
            local_rank=here.local_rank,
            world_size=here.world_size,
            silent=pulse.silent,
            measurements=measurements,
            shared_inputs=input_folder.from_environment(os.environ),
            memory_plan=plan,
        )
        output = _carried_out(context, started, log)
        if output is None:
            _without_checkpoints(checkpoints.wait, log)
            return StageResult(outcome="done"), EXIT_DONE
        return _finish(attempt, output, checkpoints, pulse), EXIT_DONE
    except Exception as error:
        failed = as_ser_error(error, spec.stage, plan.found)
        pulse.silent("saving the log")
        if failed.exit_code == 1:
            traceback.print_exc()
            log.event("traceback", text=traceback.format_exc())
        log.event("failed", reason=failed.reason, message=failed.message, hint=failed.hint)
        if attempt is not None:
            attempt.leave_log()
        return failure(failed, checkpoints), failed.exit_code
    finally:
        stop.over()


def _carried_out(context: StageContext, started: datetime, log: EventLog) -> StageOutput | None:
    """What the stage's body has computed. The process of rank 0 shows the progress meanwhile."""
    spec, measurements = context.spec, context.measurements
    context.silent("importing the stage")
    body: StageBody = importlib.import_module(BODIES[spec.stage]).body
    pages = progress_server(os.environ, log.latest, lambda: exposition(spec, started, log.latest(), measurements.values()))
    with pages if context.rank == 0 else contextlib.nullcontext():
        return body(context)


def _without_checkpoints(end: Callable[[], None], log: EventLog) -> None:
    """End with checkpoints once all is computed. Nothing needs them; who commits a stage aborts their uploads with what is left over."""
    try:
        end()
    except StoreError as error:
        log.event("checkpoints-not-ended", message=error.message)


def _finish(attempt: Attempt, output: StageOutput, checkpoints: BackgroundCheckpoints, pulse: Heartbeat) -> StageResult:
    uploading = partial(pulse.silent, "uploading")
    uploading()
    committed = attempt.commit(output, uploading)
    pulse.silent("removing what nobody needs")
    _without_checkpoints(checkpoints.delete_all, attempt.log)
    attempt.remove_unneeded(committed.manifest)
    result = attempt.with_stored(outcome(committed))
    return result if committed.won else result.model_copy(update={"message": "another attempt committed first"})


def _has_steps(stage: StageKind) -> bool:
    """Whether a stage computes in steps; only such a stage keeps checkpoints."""
    return stage not in (StageKind.PREPARE, StageKind.FILTER)


def _read_spec(text: str | None) -> StageSpec:
    if not text:
        raise SpecError("SER_STAGE is not set", hint="stages are started by ser run or the operator, not by hand")
    return read_stage_spec(text, image=VERSION, started_by=os.environ.get(STARTED_BY))
