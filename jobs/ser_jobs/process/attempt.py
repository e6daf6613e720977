"""One attempt of a stage and the store: what is there already, what is committed, and what is removed."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from ser_core.api.cluster_identity import CLUSTER
from ser_core.api.stage import InputRole, StageMetrics, StageResult, StageSpec
from ser_core.api.status import StageKind
from ser_core.errors import EXIT_DONE, EXIT_NOTHING_TO_REPORT, SERError, StoreRefused
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.leftovers import Leftovers, remove_leftovers
from ser_core.store.runs.owner import mark_owner
from ser_core.store.runs.retaining import remove_unneeded, told
from ser_core.store.runs.stored import stored_bytes
from ser_core.store.stages.commit import Committed, commit, find_manifest, read_manifest, upload_outputs
from ser_core.store.stages.manifest import Manifest, OutputFile, StageKeyRecord, TakeOver, stage_prefix
from ser_core.store.stages.stage_key import stage_key
from ser_core.version import VERSION
from ser_jobs.process.context import StageOutput
from ser_jobs.process.result import done, outcome
from ser_jobs.process.taking_over import claim, look, processes_of, written_origins
from ser_jobs.ranks import Ranks
from ser_jobs.telemetry.reporter import EventLog


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a stage, before and after the stage computes."""

    spec: StageSpec
    writer: str
    started: datetime
    ranks: Ranks
    store: ObjectStore
    log: EventLog
    inputs: Mapping[InputRole, Manifest] = field(default_factory=dict)
    take_over: TakeOver | None = None

    def look(self, folder: Path, silent: Callable[[str], None]) -> tuple[Self, tuple[StageResult, int] | None]:
        """What is known without computing: the stage is committed, or is taken over, or in mode `report` is neither.

        Returns:
            The attempt with its inputs, and result and exit code; None: the stage must be computed.
        """
        spec = self.spec
        found = find_manifest(self.store, spec.run, spec.iteration, spec.stage)
        if found is not None:
            self.log.event("already-committed", manifest=found[1].uri)
            self._remove_leftovers(found[0])  # who committed may have been killed before it did
            return self, (done(*found), EXIT_DONE)
        reports = spec.mode == "report"
        if reports and spec.spec.from_ is None:
            return self, (StageResult(outcome="absent"), EXIT_NOTHING_TO_REPORT)
        inputs = {role: read_manifest(self.store, ref) for role, ref in spec.inputs.items()}
        silent("looking at the run of spec.from")
        looked = look(spec, self.store, inputs, folder, processes_of(spec, self.ranks), lambda: self.log.progress(0, 1, "files"))
        if looked is None:
            return replace(self, inputs=inputs), None
        looked = claim(looked, spec, self.store, self.ranks.world_size)
        self.log.event("looked-at-leader", told=looked.record.told)
        attempt = replace(self, inputs=inputs, take_over=looked.record)
        if looked.found is not None:
            theirs = looked.found[0]
            return attempt, (outcome(attempt._commit(theirs.outputs, theirs.metrics, looked.key)), EXIT_DONE)
        absent = StageResult(outcome="absent", message=looked.record.told[:900])
        return attempt, (absent, EXIT_NOTHING_TO_REPORT) if reports else None

    def commit(self, output: StageOutput, alive: Callable[[], None]) -> Committed:
        """Upload what the stage has made, and commit it; ``alive`` is called often, from any thread."""
        spec = self.spec
        try:
            outputs = upload_outputs(self.store, spec.run, spec.iteration, spec.stage, spec.attempt, output.files, alive)
        except StoreRefused:  # another process may have committed meanwhile, and with what is left over aborted this upload
            found = find_manifest(self.store, spec.run, spec.iteration, spec.stage)
            if found is None:
                raise
            return Committed(*found, won=False)
        self.log.event("uploaded", files=len(outputs), bytes=sum(part.size for part in outputs.values()))
        origins = written_origins(output.files, outputs) if spec.stage is StageKind.PREPARE else None
        key = stage_key(spec, self.inputs, processes_of(spec, self.ranks), origins)
        return self._commit(outputs | dict(output.stored), output.metrics, key)

    def remove_unneeded(self, manifest: Manifest) -> None:
        """Remove what nobody needs any more, now that the stage is done."""
        self._remove_leftovers(manifest)
        self._remove_models()

    def with_stored(self, result: StageResult) -> StageResult:
        """``result`` of a stage that is done with what the run stores now. A store that fails does not change the rest of it."""
        if result.manifest is None:
            return result
        try:
            return result.model_copy(update={"stored": stored_bytes(self.store, self.spec.run)})
        except SERError as error:
            self.log.event("stored-not-counted", message=error.message)
            return result

    def leave_log(self) -> None:
        """What an attempt leaves that has failed: its log, and whose that is, for `ser purge --orphans` once the run is gone."""
        if self._save_log() is not None:
            with contextlib.suppress(SERError):  # the failure is the one to report
                self._mark_owner()

    def _commit(self, outputs: dict[str, OutputFile], metrics: StageMetrics, key: StageKeyRecord | None) -> Committed:
        spec = self.spec
        self._mark_owner()
        manifest = Manifest(
            run=spec.run,
            stage=spec.stage,
            iteration=spec.iteration,
            attempt=spec.attempt,
            writer=self.writer,
            inputs={role.value: ref for role, ref in spec.inputs.items()},
            outputs=outputs,
            metrics=metrics,
            code_version=VERSION,
            seed=spec.spec.training.seed,
            threads=spec.threads,
            started_at=f"{self.started:%Y-%m-%dT%H:%M:%SZ}",
            finished_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            log=self._save_log(),
            stage_key=key,
            take_over=self.take_over,
        )
        return commit(self.store, manifest)

    def _mark_owner(self) -> None:
        cluster = os.environ.get(CLUSTER)
        if cluster and self.spec.stage is StageKind.PREPARE:
            mark_owner(self.store, self.spec.run, cluster)

    def _remove_leftovers(self, manifest: Manifest) -> None:
        """What attempts without a manifest have left of this stage. A store that fails does not change the attempt's result."""
        if self.ranks.rank != 0:
            return
        try:
            found = remove_leftovers(self.store, manifest)
        except SERError as error:
            self.log.event("leftovers-not-removed", message=error.message)
            return
        if found != Leftovers():
            self.log.event("leftovers-removed", objects=found.objects, bytes=found.bytes, uploads=found.uploads)

    def _remove_models(self) -> None:
        """What `storage.retain` asks for. A store that fails does not change the attempt's result: the next stage removes the rest."""
        try:
            found = remove_unneeded(self.store, self.spec)
        except SERError as error:
            self.log.event("models-not-removed", message=error.message)
            return
        if found.models:
            self.log.event("models-removed", models=[told(one) for one in found.models], bytes=found.bytes)
        if found.kept_for:
            self.log.event("models-kept", told=f"{', '.join(found.kept_for)} took stages over from this run, so it keeps all its models")

    def _save_log(self) -> str | None:
        """Upload the log. A failed upload does not change the attempt's result."""
        folder = f"{stage_prefix(self.spec.run, self.spec.iteration, self.spec.stage)}/attempt-{self.spec.attempt}-{self.writer[:8]}"
        key = f"{folder}/log.jsonl" if self.ranks.rank == 0 else f"{folder}/log-rank-{self.ranks.rank:04d}.jsonl"
        try:
            self.store.upload(key, self.log.path)
        except SERError as error:
            self.log.event("log-not-saved", message=error.message)
            return None
        return key
