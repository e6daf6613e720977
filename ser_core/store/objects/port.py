"""The one port to the object store. Keys are relative to the store's root and have no leading slash.

Only two guarantees are asked of a store: a single `create` is atomic and refuses an existing key, and a completed write
is visible to the next read. Nothing relies on listings, ETags or conditional multipart uploads. On the time of a write only the lock of
`ser run` relies (`ser_core.store.runs.run_lock`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CONDITIONAL_WRITES = "use a store that honours If-None-Match: * (AWS S3, MinIO, versitygw), or file:// on a disk with hard links"
"""What helps where `ObjectStore.create` is not what it must be."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One listed object: its key, its size in bytes and when it was last written (seconds since the epoch)."""

    key: str
    size: int
    modified: float


def unwatched() -> None:
    """Nobody waits for signs of life."""


class ObjectStore(Protocol):
    """Objects by key. Every method retries within an outer deadline and then raises `StoreError`."""

    def uri(self, key: str) -> str:
        """Full URI of ``key``, for people and manifests."""
        ...

    def key(self, uri: str) -> str:
        """Key of a URI made by `uri`. Raises `SpecError` when it lies outside this store."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write ``data`` in one atomic request unless the key exists. False: it exists (perhaps our own lost answer)."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write ``data``, replacing what is there."""
        ...

    def get(self, key: str) -> bytes:
        """Content of ``key``. Raises `ObjectNotFound`."""
        ...

    def beginning(self, key: str, length: int) -> bytes:
        """The first ``length`` bytes of ``key``, fewer if it has fewer. Raises `ObjectNotFound`."""
        ...

    def age(self, key: str) -> float:
        """Seconds since ``key`` was written, both by the store's own clock. Raises `ObjectNotFound`."""
        ...

    def upload(self, key: str, path: Path, alive: Callable[[], None] = unwatched) -> None:
        """Write a file of any size, in parallel parts where that helps; ``alive`` is called after each, from any thread."""
        ...

    def download(self, key: str, path: Path, alive: Callable[[], None] = unwatched) -> None:
        """Read an object of any size into a new file; ``alive`` as of `upload`. Raises `ObjectNotFound`."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key starts with ``prefix``, in key order. For reports and cleaning up, never to decide that a stage is done."""
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders directly below ``prefix``, which is empty or ends with a slash. Their content is not listed."""
        ...

    def abandon(self, prefix: str) -> int:
        """Remove what writers that were killed have left unfinished below ``prefix``, which ends with a slash; returns how much. A store
        that cannot tell removes nothing. Only for a prefix in which nobody writes any more."""
        ...

    def delete(self, key: str) -> None:
        """Remove ``key``; not an error when it is not there."""
        ...
