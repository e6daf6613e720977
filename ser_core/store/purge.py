"""Deleting what a run has stored. Nothing else ever deletes a run's data."""

from dataclasses import dataclass

from ser_core.store.port import ObjectStore


@dataclass(frozen=True, slots=True)
class Stored:
    """How much a run keeps."""

    objects: int
    bytes: int


def stored(store: ObjectStore, namespace: str, name: str) -> Stored:
    """What `purge` would delete."""
    found = list(store.list(f"{namespace}/{name}/"))
    return Stored(len(found), sum(entry.size for entry in found))


def purge(store: ObjectStore, namespace: str, name: str) -> Stored:
    """Delete everything that runs of this name have stored, run.json last, so that an interrupted purge can be repeated."""
    found = sorted(store.list(f"{namespace}/{name}/"), key=lambda entry: entry.key.count("/"), reverse=True)
    for entry in found:
        store.delete(entry.key)
    return Stored(len(found), sum(entry.size for entry in found))
