"""The stage runtime: one attempt of one stage, from its spec in the environment to its exit code.

In: ``SER_STAGE`` (the `StageSpec` as JSON). Out: the manifest, the `StageResult` in the file named by
``SER_TERMINATION_MESSAGE``, JSON events on standard output, the exit code (docs/architecture.md, `ser_core.errors`).

Several processes (`place`) all run the stage's body. The process whose body returns an output commits and reports it. A process that
fails reports its own failure.
"""

import contextlib
import importlib
import os
import sys
import tempfile
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from ser_core.api.cluster_identity import CLUSTER
from ser_core.api.stage import (
    MAX_RESULT_BYTES,
    NOT_TAKEN_OVER,
    TAKEN_OVER,
    InputRole,
    ManifestRef,
    PrepareMetrics,
    StageMetrics,
    StageResult,
    StageSpec,
)
from ser_core.api.stage_wire import STAGE, STARTED_BY, read_stage_spec
from ser_core.api.status import StageKind
from ser_core.errors import EXIT_DONE, EXIT_NOTHING_TO_REPORT, Interrupted, NodeDiskFull, SERError, SpecError, is_disk_full
from ser_core.memory.plan import StagePlan
from ser_core.store.objects.connect import connect
from ser_core.store.objects.port import ObjectStore
from ser_core.store.objects.retry import Retry
from ser_core.store.runs.leftovers import Leftovers, remove_leftovers
from ser_core.store.runs.owner import mark_owner
from ser_core.store.runs.retaining import remove_unneeded, told
from ser_core.store.runs.stored import stored_bytes
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.commit import Committed, commit, find_manifest, read_manifest, upload_outputs
from ser_core.store.stages.manifest import Manifest, OutputFile, StageKeyRecord, TakeOver, stage_prefix
from ser_core.store.stages.stage_key import stage_key
from ser_jobs.process import heartbeat, input_folder, memory_plan, place, stacks
from ser_jobs.process.background_checkpoints import BackgroundCheckpoints
from ser_jobs.process.context import StageBody, StageContext, StageOutput
from ser_jobs.process.credentials import load_credentials
from ser_jobs.process.heartbeat import Heartbeat
from ser_jobs.process.memory import out_of_memory
from ser_jobs.process.metrics_exporter import Measurements, exposition
from ser_jobs.process.place import Place
from ser_jobs.process.progress_server import progress_server
from ser_jobs.process.reporter import EventLog
from ser_jobs.process.stop_signal import StopSignal
from ser_jobs.process.taking_over import claim, look, processes_of, written_origins

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
        _report(termination_message, _failure(error, None))
        return error.exit_code
    result, exit_code = _in_a_folder(spec)
    if result.manifest is not None or exit_code != EXIT_DONE:
        _report(termination_message, result)
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
        full = _as_ser_error(error, spec.stage)
        return _failure(full, None), full.exit_code


def run_stage(spec: StageSpec, folder: Path) -> tuple[StageResult, int]:
    """Run one attempt to its end. Every error becomes a result and an exit code; none escapes.

    Args:
        spec: What to do.
        folder: An empty folder for the inputs, the outputs and the log.
    """
    checkpoints: BackgroundCheckpoints | None = None
    here = place.from_environment(os.environ)
    pulse = heartbeat.from_environment(os.environ, has_steps=_has_steps(spec.stage))
    log = EventLog(folder / "log.jsonl", sys.stdout, pulse, here)
    attempt = _Attempt(spec, uuid.uuid4().hex, datetime.now(UTC), here)
    store: ObjectStore | None = None
    plan = memory_plan.from_environment(os.environ)
    stop = StopSignal(raises=not _has_steps(spec.stage))
    try:
        stop.install()
        measurements = Measurements()
        store = connect(spec.spec.storage, Retry(retried=measurements.store_retried), stands=True)  # a folder has its run at least
        attempt, known = attempt.look(store, folder, log, pulse)
        if known is not None:
            return attempt.with_stored(store, known[0], log), known[1]
        checkpoints = BackgroundCheckpoints(CheckpointStore(store, spec.run, spec.iteration, spec.stage), folder / "checkpoints")
        log.event("started", stage=spec.stage, iteration=spec.iteration, attempt=spec.attempt, threads=spec.threads)
        pulse.silent("importing the stage")
        body: StageBody = importlib.import_module(BODIES[spec.stage]).body
        pages = progress_server(os.environ, log.latest, lambda: exposition(spec, attempt.started, log.latest(), measurements.values()))
        with pages if here.rank == 0 else contextlib.nullcontext():
            context = StageContext(
                spec,
                store,
                attempt.inputs,
                folder,
                log,
                stop.received,
                checkpoints,
                here.rank,
                here.local_rank,
                here.world_size,
                pulse.silent,
                measurements,
                input_folder.from_environment(os.environ),
                plan,
            )
            output = body(context)
        if output is None:
            checkpoints.wait()
            return StageResult(outcome="done"), EXIT_DONE
        pulse.silent("uploading")
        committed = attempt.commit(store, output, log)
        checkpoints.delete_all()
        pulse.silent("removing what nobody needs")
        attempt.remove_leftovers(store, committed.manifest, log)
        attempt.remove_unneeded(store, log)
        outcome = attempt.with_stored(store, _outcome(committed), log)
        return outcome if committed.won else outcome.model_copy(update={"message": "another attempt committed first"}), EXIT_DONE
    except Exception as error:
        failure = _as_ser_error(error, spec.stage, plan.found)
        pulse.silent("saving the log")
        if failure.exit_code == 1:
            traceback.print_exc()
            log.event("traceback", text=traceback.format_exc())
        log.event("failed", reason=failure.reason, message=failure.message, hint=failure.hint)
        if store is not None:
            attempt.leave_log(store, log)
        return _failure(failure, checkpoints), failure.exit_code
    finally:
        stop.over()


def _has_steps(stage: StageKind) -> bool:
    """Whether a stage computes in steps; only such a stage keeps checkpoints."""
    return stage not in (StageKind.PREPARE, StageKind.FILTER)


@dataclass(frozen=True, slots=True)
class _Attempt:
    spec: StageSpec
    writer: str
    started: datetime
    place: Place
    inputs: Mapping[InputRole, Manifest] = field(default_factory=dict)
    take_over: TakeOver | None = None

    def look(self, store: ObjectStore, folder: Path, log: EventLog, pulse: Heartbeat) -> tuple[Self, tuple[StageResult, int] | None]:
        """What is known without computing: the stage is committed, or is taken over, or in mode `report` is neither.

        Returns:
            The attempt with its inputs, and result and exit code; None: the stage must be computed.
        """
        spec = self.spec
        found = find_manifest(store, spec.run, spec.iteration, spec.stage)
        if found is not None:
            log.event("already-committed", manifest=found[1].uri)
            self.remove_leftovers(store, found[0], log)  # who committed may have been killed before it did
            return self, (_done(*found), EXIT_DONE)
        reports = spec.mode == "report"
        if reports and spec.spec.from_ is None:
            return self, (StageResult(outcome="absent"), EXIT_NOTHING_TO_REPORT)
        inputs = {role: read_manifest(store, ref) for role, ref in spec.inputs.items()}
        pulse.silent("looking at the run of spec.from")
        looked = look(spec, store, inputs, folder, processes_of(spec, self.place), lambda: log.progress(0, 1, "files"))
        if looked is None:
            return replace(self, inputs=inputs), None
        looked = claim(looked, spec, store, self.place.world_size)
        log.event("looked-at-leader", told=looked.record.told)
        attempt = replace(self, inputs=inputs, take_over=looked.record)
        if looked.found is not None:
            theirs = looked.found[0]
            return attempt, (_outcome(attempt._commit(store, theirs.outputs, theirs.metrics, looked.key, log)), EXIT_DONE)
        absent = StageResult(outcome="absent", message=looked.record.told[:900])
        return attempt, (absent, EXIT_NOTHING_TO_REPORT) if reports else None

    def commit(self, store: ObjectStore, output: StageOutput, log: EventLog) -> Committed:
        """Upload what the stage has made, and commit it."""
        spec = self.spec
        outputs = upload_outputs(store, spec.run, spec.iteration, spec.stage, spec.attempt, output.files)
        log.event("uploaded", files=len(outputs), bytes=sum(part.size for part in outputs.values()))
        origins = written_origins(output.files, outputs) if spec.stage is StageKind.PREPARE else None
        key = stage_key(spec, self.inputs, processes_of(spec, self.place), origins)
        return self._commit(store, outputs | dict(output.stored), output.metrics, key, log)

    def _commit(
        self, store: ObjectStore, outputs: dict[str, OutputFile], metrics: StageMetrics, key: StageKeyRecord | None, log: EventLog
    ) -> Committed:
        spec = self.spec
        self._mark_owner(store)
        manifest = Manifest(
            run=spec.run,
            stage=spec.stage,
            iteration=spec.iteration,
            attempt=spec.attempt,
            writer=self.writer,
            inputs={role.value: ref for role, ref in spec.inputs.items()},
            outputs=outputs,
            metrics=metrics,
            code_version=version("ser-operator"),
            seed=spec.spec.training.seed,
            threads=spec.threads,
            started_at=f"{self.started:%Y-%m-%dT%H:%M:%SZ}",
            finished_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            log=self.save_log(store, log),
            stage_key=key,
            take_over=self.take_over,
        )
        return commit(store, manifest)

    def _mark_owner(self, store: ObjectStore) -> None:
        cluster = os.environ.get(CLUSTER)
        if cluster and self.spec.stage is StageKind.PREPARE:
            mark_owner(store, self.spec.run, cluster)

    def leave_log(self, store: ObjectStore, log: EventLog) -> None:
        """What an attempt leaves that has failed: its log, and whose that is, for `ser purge --orphans` once the run is gone."""
        if self.save_log(store, log) is not None:
            with contextlib.suppress(SERError):  # the failure is the one to report
                self._mark_owner(store)

    def remove_leftovers(self, store: ObjectStore, manifest: Manifest, log: EventLog) -> None:
        """What attempts without a manifest have left of this stage. A store that fails does not change the attempt's result."""
        if self.place.rank != 0:
            return
        try:
            found = remove_leftovers(store, manifest)
        except SERError as error:
            log.event("leftovers-not-removed", message=error.message)
            return
        if found != Leftovers():
            log.event("leftovers-removed", objects=found.objects, bytes=found.bytes, uploads=found.uploads)

    def remove_unneeded(self, store: ObjectStore, log: EventLog) -> None:
        """What `storage.retain` asks for. A store that fails does not change the attempt's result: the next stage removes the rest."""
        try:
            found = remove_unneeded(store, self.spec)
        except SERError as error:
            log.event("models-not-removed", message=error.message)
            return
        if found.models:
            log.event("models-removed", models=[told(one) for one in found.models], bytes=found.bytes)
        if found.kept_for:
            log.event("models-kept", told=f"{', '.join(found.kept_for)} took stages over from this run, so it keeps all its models")

    def with_stored(self, store: ObjectStore, result: StageResult, log: EventLog) -> StageResult:
        """``result`` of a stage that is done with what the run stores now. A store that fails does not change the rest of it."""
        if result.manifest is None or self.place.rank != 0:
            return result
        try:
            return result.model_copy(update={"stored": stored_bytes(store, self.spec.run)})
        except SERError as error:
            log.event("stored-not-counted", message=error.message)
            return result

    def save_log(self, store: ObjectStore, log: EventLog) -> str | None:
        """Upload the log. A failed upload does not change the attempt's result."""
        folder = f"{stage_prefix(self.spec.run, self.spec.iteration, self.spec.stage)}/attempt-{self.spec.attempt}-{self.writer[:8]}"
        key = f"{folder}/log.jsonl" if self.place.rank == 0 else f"{folder}/log-rank-{self.place.rank:04d}.jsonl"
        try:
            store.upload(key, log.path)
        except SERError as error:
            log.event("log-not-saved", message=error.message)
            return None
        return key


def _read_spec(text: str | None) -> StageSpec:
    if not text:
        raise SpecError("SER_STAGE is not set", hint="stages are started by ser run or the operator, not by hand")
    return read_stage_spec(text, image=version("ser-operator"), started_by=os.environ.get(STARTED_BY))


def _as_ser_error(error: Exception, stage: StageKind, planned: StagePlan | None = None) -> SERError:
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


def _done(manifest: Manifest, ref: ManifestRef) -> StageResult:
    looked = manifest.take_over
    if looked is None:
        misfits = "; ".join(manifest.metrics.misfits) if isinstance(manifest.metrics, PrepareMetrics) else ""
        return StageResult(outcome="done", manifest=ref, metrics=manifest.metrics, message=misfits[:900])
    reason = NOT_TAKEN_OVER if looked.manifest is None else TAKEN_OVER
    return StageResult(outcome="done", manifest=ref, metrics=manifest.metrics, reason=reason, message=looked.told[:900])


def _outcome(committed: Committed) -> StageResult:
    done = _done(committed.manifest, committed.ref)
    return done if committed.won else done.model_copy(update={"outcome": "superseded"})


def _failure(error: SERError, checkpoints: CheckpointStore | None) -> StageResult:
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


def _report(path: str | None, result: StageResult) -> None:
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
