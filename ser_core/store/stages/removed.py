"""What a run has removed of its own, by `storage.retain: best`: one object in its folder, read where a file is missing."""

from collections.abc import Iterable

from pydantic import Field, ValidationError

from ser_core.api.model import Record
from ser_core.api.stage import RunIdentity
from ser_core.errors import ObjectNotFound
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.manifest import run_prefix

_DEPTH = 3
"""Namespace, name and UID of a run."""


class Removed(Record):
    """What a run has removed."""

    models: dict[str, str] = Field(default_factory=dict)
    """Whose file it was, in words, by key in the store."""


def mark_removed(store: ObjectStore, run: RunIdentity, removed: Removed) -> None:
    """Replace what is known to be removed."""
    store.put(_key(run_prefix(run)), removed.model_dump_json(by_alias=True).encode())


def removed_by(store: ObjectStore, run: RunIdentity) -> Removed:
    """What a run has removed so far."""
    return _read(store, run_prefix(run))


def why_removed(store: ObjectStore, keys: Iterable[str]) -> str:
    """Which of some files a run has removed, in words; empty: none."""
    by_run: dict[str, list[str]] = {}
    for key in keys:
        by_run.setdefault("/".join(key.split("/")[:_DEPTH]), []).append(key)
    for folder, files in by_run.items():
        models = _read(store, folder).models
        found = next((models[key] for key in files if key in models), None)
        if found is not None:
            return f"{folder.split('/')[1]} has removed {found}, since its storage.retain is best"
    return ""


def _key(folder: str) -> str:
    return f"{folder}/REMOVED.json"


def _read(store: ObjectStore, folder: str) -> Removed:
    try:
        return Removed.model_validate_json(store.get(_key(folder)))
    except (ObjectNotFound, ValidationError):
        return Removed()
