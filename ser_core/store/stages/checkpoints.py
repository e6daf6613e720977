"""Checkpoints of a running stage, shared by its attempts and deleted after its commit.

The parts of a checkpoint lie in a folder with a random name; one small index names the newest two, and is replaced by a single write
after the parts of the newer are complete. So no listing has to be trusted.

Where several processes save together, each uploads its own parts. Rank 0 writes the index; each other one writes, last, a record of its
parts. A checkpoint is whole when all records are there, and only a whole one is kept beside the newest.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ser_core.api.model import Record
from ser_core.api.stage import RunIdentity
from ser_core.api.status import StageKind
from ser_core.errors import CorruptObject, ObjectNotFound
from ser_core.store.objects.port import ObjectStore, unwatched
from ser_core.store.stages.commit import fetch_parts, upload_part
from ser_core.store.stages.manifest import OutputFile, stage_prefix

KEPT = 2
"""The newest, and the one before it in case the newest is damaged."""


class Checkpoint(Record):
    """One complete checkpoint."""

    step: int
    files: dict[str, OutputFile]
    """Those of rank 0."""
    records: tuple[str, ...] = ()
    """Keys of the other processes' records, by rank."""


class _Record(Record):
    files: dict[str, OutputFile]


@dataclass(frozen=True, slots=True)
class Together:
    """One of the processes that save a checkpoint together."""

    rank: int
    processes: int
    name: str
    """Of the checkpoint's folder: the same in all of them, and another one for each checkpoint."""


class _Index(Record):
    checkpoints: tuple[Checkpoint, ...] = ()
    """Newest first."""


class CheckpointStore:
    """Checkpoints of one stage of one iteration, or of one ``part`` of it; deleting the stage's deletes those of its parts."""

    beside: float = 0.0
    """Seconds of a processor that the newest save took beside its caller's own work."""

    def __init__(self, store: ObjectStore, run: RunIdentity, iteration: int, stage: StageKind, part: str | None = None) -> None:
        self.place = store, run, iteration, stage, part
        """What it was made of."""
        self._store = store
        self.prefix = f"{stage_prefix(run, iteration, stage)}/checkpoints{f'/{part}' if part else ''}"
        """Where they lie."""
        self._index_key = f"{self.prefix}/INDEX.json"

    def of(self, part: str) -> "CheckpointStore":
        """Checkpoints of a part of the stage."""
        return CheckpointStore(*self.place[:-1], part)

    def save(self, step: int, files: Mapping[str, Path], together: Together | None = None) -> None:
        """Save ``files`` as the checkpoint of ``step``. Killed at any moment, the newest is this one or the one before.

        Args:
            step: Its number.
            files: By name.
            together: The processes that save it together, each its own files. None begins before all have ended the one before.
        """
        folder = f"{self.prefix}/{step:08d}-{together.name if together else uuid.uuid4().hex[:8]}"
        own = f"{folder}/rank-{together.rank}" if together and together.rank else folder
        parts = {name: upload_part(self._store, f"{own}/{name}", path) for name, path in files.items()}
        if together and together.rank:
            self._store.put(f"{own}.json", _Record(files=parts).model_dump_json(by_alias=True).encode())
            return
        known = [(checkpoint, self._files(checkpoint)) for checkpoint in self._read().checkpoints]
        whole = [checkpoint for checkpoint, stored in known if stored is not None]
        records = tuple(f"{folder}/rank-{rank}.json" for rank in range(1, together.processes)) if together else ()
        kept = (Checkpoint(step=step, files=parts, records=records), *whole[: KEPT - 1])
        self._store.put(self._index_key, _Index(checkpoints=kept).model_dump_json(by_alias=True).encode())
        for dropped, stored in (one for one in known if one[0] not in kept):
            for part in (stored or dropped.files).values():
                self._store.delete(part.key)
            for record in dropped.records:
                self._store.delete(record)

    def wait(self) -> None:
        """Wait until what was saved is stored. Here it always is."""

    def newest(
        self, folder: Path, contents: Path | None = None, alive: Callable[[], None] = unwatched
    ) -> tuple[int, dict[str, Path]] | None:
        """Step and verified local copies of the newest whole checkpoint; a damaged one falls back to the one before. None: start afresh.

        Files of rank K are named ``rank-K/…``.

        Args:
            folder: For the copies.
            contents: A folder that several processes share (`ser_core.store.stages.commit.fetch_outputs`).
            alive: Called often, from any thread.
        """
        for checkpoint, files in self._whole():
            try:
                return checkpoint.step, fetch_parts(self._store, files, folder / f"checkpoint-{checkpoint.step}", contents, alive)
            except (CorruptObject, ObjectNotFound):
                continue
        return None

    def newest_step(self) -> int | None:
        """Step of the newest checkpoint, unverified."""
        return next((checkpoint.step for checkpoint, _ in self._whole()), None)

    def newest_files(self) -> frozenset[str]:
        """Names of the newest checkpoint's files of rank 0, unverified; none where there is no checkpoint."""
        return next((frozenset(checkpoint.files) for checkpoint, _ in self._whole()), frozenset())

    def delete_all(self) -> None:
        """Remove every checkpoint, the index first, so that none is half there; also what a killed save left."""
        self._store.delete(self._index_key)
        for found in list(self._store.list(f"{self.prefix}/")):
            self._store.delete(found.key)

    def _whole(self) -> Iterator[tuple[Checkpoint, dict[str, OutputFile]]]:
        """The checkpoints that all processes have saved, newest first, each with the files of all."""
        for checkpoint in self._read().checkpoints:
            files = self._files(checkpoint)
            if files is not None:
                yield checkpoint, files

    def _files(self, checkpoint: Checkpoint) -> dict[str, OutputFile] | None:
        files = dict(checkpoint.files)
        for rank, key in enumerate(checkpoint.records, 1):
            try:
                record = _Record.model_validate_json(self._store.get(key))
            except (ObjectNotFound, ValidationError):
                return None
            if not self._lie_here(part.key for part in record.files.values()):
                return None
            files |= {f"rank-{rank}/{name}": part for name, part in record.files.items()}
        return files

    def _read(self) -> _Index:
        try:
            index = _Index.model_validate_json(self._store.get(self._index_key))
        except (ObjectNotFound, ValidationError):
            return _Index()
        own = (one for one in index.checkpoints if self._lie_here((*one.records, *(part.key for part in one.files.values()))))
        return _Index(checkpoints=tuple(own))

    def _lie_here(self, keys: Iterable[str]) -> bool:
        """Whether all of them are keys of checkpoints: an index that was changed has nothing of others read, nor deleted by a save."""
        return all(key.startswith(f"{self.prefix}/") for key in keys)
