"""Manifests: the small files, written last, that alone prove a stage done."""

import hashlib
import json
from typing import Any

from ser_core.api.model import Record
from ser_core.api.stage import ManifestRef, RunIdentity, StageMetrics
from ser_core.api.status import StageKind

MANIFEST_SCHEMA_VERSION = 1


class OutputFile(Record):
    """One part of a stage's output."""

    key: str
    """Key in the store."""
    size: int
    """Bytes."""
    sha256: str


class StageKeyRecord(Record):
    """The stage key of a committed stage, and what it was made of, so that two keys tell where they differ (`stage_key`)."""

    sha256: str
    algorithm: int
    spec: dict[str, Any]
    """Fields that the stage reads and that differ from their defaults, by path."""
    inputs: dict[str, str]
    """Digest of the content, by role; of `prepare` what its inputs hold, by field."""
    facts: dict[str, int]


class TakeOver(Record):
    """What came of looking at the run that `spec.from` names."""

    run: RunIdentity
    """The run that was looked at."""
    manifest: ManifestRef | None = None
    """Its manifest, whose outputs this one names too; None: nothing was taken over, and the stage was computed."""
    why: str = ""
    """Why nothing was taken over."""

    @property
    def told(self) -> str:
        """One sentence for people."""
        leader = f"{self.run.name} ({self.run.uid})"
        return f"not taken over from {leader}: {self.why}" if self.manifest is None else f"taken over from {leader}"


class Manifest(Record):
    """What a stage made, from what, by whom."""

    schema_version: int = MANIFEST_SCHEMA_VERSION
    run: RunIdentity
    stage: StageKind
    iteration: int
    attempt: int
    writer: str
    """Random id of the process that committed."""
    inputs: dict[str, ManifestRef]
    """By role (`InputRole`)."""
    outputs: dict[str, OutputFile]
    """By name; a slash makes folders (`model/config.json`)."""
    metrics: StageMetrics
    code_version: str
    seed: int
    threads: int
    started_at: str
    finished_at: str
    log: str | None = None
    """Key of the stage's log."""
    stage_key: StageKeyRecord | None = None
    """None in manifests of version 0.1.0."""
    take_over: TakeOver | None = None
    """None where the run has no `spec.from`."""

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, two-space indent, final newline."""
        return (json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, sort_keys=True) + "\n").encode()

    def digest(self) -> str:
        """SHA-256 of `to_bytes`, in hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def run_prefix(run: RunIdentity) -> str:
    """Key prefix of all that a run stores: ``<namespace>/<name>/<uid>``."""
    return f"{run.namespace}/{run.name}/{run.uid}"


def stage_prefix(run: RunIdentity, iteration: int, stage: StageKind) -> str:
    """Key prefix of a stage: ``<namespace>/<name>/<uid>/iter-0002/retrain``."""
    return f"{run_prefix(run)}/iter-{iteration:04d}/{stage.value}"


def manifest_key(run: RunIdentity, iteration: int, stage: StageKind) -> str:
    """Key of the stage's manifest, the same for every attempt."""
    return f"{stage_prefix(run, iteration, stage)}/MANIFEST.json"
