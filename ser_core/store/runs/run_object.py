"""The run as an object when there is no API server: ``<namespace>/<name>/run.json`` in the run's own store.

It holds UID, spec and status, as the API server would. It is made once by an atomic create, so two first starts agree on one UID.
"""

import json
import re

from pydantic import ValidationError

from ser_core.api.serrun import SERRun
from ser_core.errors import ObjectNotFound, StoreError
from ser_core.store.objects.port import ObjectStore

_UID = re.compile("[0-9A-Za-z-]{1,64}")
"""It becomes a part of keys, and of names of files."""


def run_key(namespace: str, name: str) -> str:
    """Key of the run's object."""
    return f"{namespace}/{name}/run.json"


def load_run(store: ObjectStore, namespace: str, name: str) -> SERRun | None:
    """The run as it was last saved, or None when it was never started.

    Raises:
        StoreError: Something stands there that is no SERRun, or not this one (reason `UnreadableRun`).
    """
    key = run_key(namespace, name)
    try:
        content = store.get(key)
    except ObjectNotFound:
        return None
    try:
        return _of(namespace, name, SERRun.read(json.loads(content)))
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise StoreError(
            f"{store.uri(key)} is no SERRun: {told}",
            reason="UnreadableRun",
            hint="it was changed by hand or written by another version: restore it, or start under another metadata.name",
        ) from error


def _of(namespace: str, name: str, run: SERRun) -> SERRun:
    found = run.metadata
    if (found.namespace, found.name) != (namespace, name):
        raise ValueError(f"it names another one, {found.namespace}/{found.name}")
    if _UID.fullmatch(found.uid) is None:
        raise ValueError(f"{found.uid!r} is no UID")
    return run


def create_run(store: ObjectStore, run: SERRun) -> SERRun:
    """Save a new run, unless another process was first; returns the run that stands in the store."""
    key = run_key(run.metadata.namespace, run.metadata.name)
    if store.create(key, _encode(run)):
        return run
    return load_run(store, run.metadata.namespace, run.metadata.name) or run


def save_run(store: ObjectStore, run: SERRun) -> None:
    """Replace the run's object by ``run``."""
    store.put(run_key(run.metadata.namespace, run.metadata.name), _encode(run))


def _encode(run: SERRun) -> bytes:
    return (json.dumps(run.written(), indent=2, ensure_ascii=False) + "\n").encode()
