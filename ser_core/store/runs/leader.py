"""The leader of a run: the run whose committed stages it takes over (`spec.from`). Found by name or UID in the run's own store alone.

What the store holds counts, not what an API server knows: a deleted run is found, and neither run ever waits for the other.
"""

import json

from pydantic import ValidationError

from ser_core.api.stage import RunIdentity
from ser_core.api.status import StageKind
from ser_core.errors import CorruptObject, ObjectNotFound, SpecError
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.run_object import run_key
from ser_core.store.stages.commit import find_manifest
from ser_core.store.stages.manifest import run_prefix


def leader_of(store: ObjectStore, follower: RunIdentity, wanted: str) -> RunIdentity:
    """The leader, the same for every stage of a run: the first one that asks writes it down, whatever run gets the name later.

    Args:
        store: Of the follower.
        follower: The run with `spec.from`.
        wanted: Its `spec.from.run`.

    Raises:
        SpecError: The store holds no such run (``RunNotFound``).
    """
    key = leader_key(follower)
    known = _read(store, key)
    if known is None:
        found = find_leader(store, follower, wanted)
        known = found if store.create(key, found.model_dump_json(by_alias=True).encode()) else _read(store, key) or found
    if known.namespace != follower.namespace:
        raise CorruptObject(f"{store.uri(key)} names a run of namespace {known.namespace}", hint="it was changed by hand: remove it")
    return known


def leader_key(follower: RunIdentity) -> str:
    """Key of the object that names a run's leader. It is the first that a follower stores, so that a back-reference finds it there."""
    return f"{run_prefix(follower)}/from.json"


def find_leader(store: ObjectStore, follower: RunIdentity, wanted: str) -> RunIdentity:
    """The newest run of that name, or the run of that UID, in the follower's namespace. The follower itself does not count.

    Raises:
        SpecError: There is none (``RunNotFound``).
    """
    named = _newest(store, follower, wanted)
    found = named if named is not None else _of_uid(store, follower, wanted)
    if found is None:
        itself = " but this one itself" if wanted in (follower.name, follower.uid) else ""
        raise SpecError(
            f"from.run: {store.uri(follower.namespace)} holds no run {wanted!r}{itself}",
            reason="RunNotFound",
            hint="name a run (or its UID) of the same namespace and storage.uri, or leave spec.from out",
        )
    return found


def _newest(store: ObjectStore, follower: RunIdentity, name: str) -> RunIdentity | None:
    """The run of a name whose `prepare` began last; one that has not committed it comes after all that have."""
    namespace = follower.namespace
    current = _current(store, namespace, name)
    uids = {*store.folders(f"{namespace}/{name}/"), *filter(None, [current])} - {follower.uid}
    runs = [RunIdentity(namespace=namespace, name=name, uid=uid) for uid in uids]
    return max(runs, key=lambda run: (_began(store, run), run.uid == current, run.uid), default=None)


def _current(store: ObjectStore, namespace: str, name: str) -> str | None:
    """UID of the run that `ser run` keeps under a name, whatever version wrote the rest of it; None: there is none."""
    try:
        return str(json.loads(store.get(run_key(namespace, name)))["metadata"]["uid"])
    except (ObjectNotFound, ValueError, KeyError, TypeError, RecursionError):
        return None


def _began(store: ObjectStore, run: RunIdentity) -> str:
    prepared = find_manifest(store, run, 0, StageKind.PREPARE)
    return "" if prepared is None else prepared[0].started_at


def _of_uid(store: ObjectStore, follower: RunIdentity, uid: str) -> RunIdentity | None:
    if uid == follower.uid:
        return None
    for name in store.folders(f"{follower.namespace}/"):
        if uid in store.folders(f"{follower.namespace}/{name}/"):
            return RunIdentity(namespace=follower.namespace, name=name, uid=uid)
    return None


def _read(store: ObjectStore, key: str) -> RunIdentity | None:
    try:
        return RunIdentity.model_validate_json(store.get(key))
    except ObjectNotFound:
        return None
    except ValidationError as error:
        raise CorruptObject(
            f"{store.uri(key)} names no run: {error.errors()[0]['msg']}", hint="it was changed by hand: remove it"
        ) from error
