"""Parts of a stage that several processes compute apart, each committed alone, so that a lost one alone is repeated.

Whoever finds all parts of a stage commits the stage. Every process looks after it has committed its own part, so the last one finds
all; that two find them at once does no harm, since a stage commits once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ser_core.api.model import Record
from ser_core.errors import CorruptObject, ObjectNotFound
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.commit import fetch_parts, upload_part
from ser_core.store.stages.manifest import OutputFile


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``index`` of ``count`` parts."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"shard-{self.index:04d}-of-{self.count:04d}"

    def all(self) -> list["Shard"]:
        """All parts of the same cut."""
        return [Shard(index, self.count) for index in range(self.count)]


class ShardManifest(Record):
    """What one process has made."""

    attempt: int
    writer: str
    """Random id of the process that committed it."""
    files: dict[str, OutputFile]
    counts: dict[str, int]
    """What the stage adds up over its parts."""


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A committed part: verified local copies of its files, and its counts."""

    files: Mapping[str, Path]
    counts: Mapping[str, int]


class ShardStore:
    """The committed parts of one stage of one iteration. They lie among its checkpoints and are deleted with them.

    Args:
        store: Where they lie.
        checkpoints: Those of the stage.
        attempt: The attempt that writes.
        writer: Random id of this process.
    """

    def __init__(self, store: ObjectStore, checkpoints: CheckpointStore, attempt: int, writer: str) -> None:
        self._store, self._checkpoints, self._attempt, self._writer = store, checkpoints, attempt, writer

    def has(self, shard: Shard) -> bool:
        """Whether it is committed."""
        return self._read(shard) is not None

    def commit(self, shard: Shard, files: Mapping[str, Path], counts: Mapping[str, int]) -> None:
        """Commit what this process has made of a part. When another has committed it before, that one stands: both computed the same."""
        folder = f"{self._checkpoints.prefix}/{shard}-{self._writer}"
        parts = {name: upload_part(self._store, f"{folder}/{name}", path) for name, path in files.items()}
        manifest = ShardManifest(attempt=self._attempt, writer=self._writer, files=parts, counts=dict(counts))
        self._store.create(self._key(shard), manifest.model_dump_json(by_alias=True).encode())

    def collect(self, shard: Shard, folder: Path) -> list[ShardResult] | None:
        """All parts of the same cut, in order; None while one is missing.

        Raises:
            ObjectNotFound: Another process has committed the stage meanwhile and deleted its parts.
            SpecError: A name leaves ``folder``: somebody has changed what a process had written.
        """
        found = [self._read(one) for one in shard.all()]
        complete = [manifest for manifest in found if manifest is not None]
        return [self._fetch(manifest, folder) for manifest in complete] if len(complete) == len(found) else None

    def _fetch(self, manifest: ShardManifest, folder: Path) -> ShardResult:
        paths = fetch_parts(self._store, {f"{manifest.writer}/{name}": part for name, part in manifest.files.items()}, folder)
        return ShardResult({name: paths[f"{manifest.writer}/{name}"] for name in manifest.files}, manifest.counts)

    def _read(self, shard: Shard) -> ShardManifest | None:
        key = self._key(shard)
        try:
            return ShardManifest.model_validate_json(self._store.get(key))
        except ObjectNotFound:
            return None
        except ValidationError as error:
            raise CorruptObject(
                f"{self._store.uri(key)} is no part of a stage: {error.errors()[0]['msg']}", hint="remove it, and it is computed again"
            ) from error

    def _key(self, shard: Shard) -> str:
        return f"{self._checkpoints.prefix}/{shard}.json"
