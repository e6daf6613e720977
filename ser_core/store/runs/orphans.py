"""Folders of runs that are gone from their cluster: which of them may be deleted, and deleting one.

Whatever is not certain stays: a folder of another cluster, one that nothing says the owner of, and one that another run refers to.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from ser_core.api.stage import RunIdentity
from ser_core.errors import CorruptObject, ObjectNotFound
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.followers import followers_of, put_purge_mark
from ser_core.store.runs.leader import leader_key
from ser_core.store.runs.owner import owner_key, owner_of
from ser_core.store.stages.manifest import run_prefix


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What a store holds of one run."""

    run: RunIdentity
    objects: int
    bytes: int
    modified: float
    """When anything in it was written last, in seconds since the epoch."""
    owner: str
    """`owner_of` it."""
    leader: str = ""
    """UID of the run that it takes stages over from."""
    followers: tuple[str, ...] = ()
    """Names of the runs that use its files."""


@dataclass(frozen=True, slots=True)
class Present:
    """What a cluster knows of the runs of one namespace."""

    uids: Collection[str]
    wanted: Collection[str]
    """What their `spec.from.run` name: names and UIDs."""


def run_folders(store: ObjectStore) -> Iterator[RunFolder]:
    """Every run that a store holds something of."""
    for namespace in store.folders(""):
        for name in store.folders(f"{namespace}/"):
            for uid in store.folders(f"{namespace}/{name}/"):
                run = RunIdentity(namespace=namespace, name=name, uid=uid)
                found = list(store.list(f"{run_prefix(run)}/"))
                if found:
                    size, modified = sum(entry.size for entry in found), max(entry.modified for entry in found)
                    yield RunFolder(run, len(found), size, modified, owner_of(store, run), _leader(store, run), _users(store, run))


def why_kept(
    folder: RunFolder, folders: Collection[RunFolder], cluster: str, present: Mapping[str, Present], older_than: float, now: float
) -> str:
    """Why a folder must stay; empty: its run is gone, and it may be deleted. Pure.

    Args:
        folder: Which one.
        folders: All that the store holds.
        cluster: `cluster_identity` of the cluster that was asked.
        present: By namespace what it knows; a namespace is missing where it may not be asked.
        older_than: Seconds in which nothing was written.
        now: Seconds since the epoch.
    """
    run = folder.run
    known = present.get(run.namespace)
    followers = sorted({*folder.followers, *(other.run.name for other in folders if other.leader == run.uid)})
    reasons = {
        "its SERRun exists": known is not None and run.uid in known.uids,
        "nothing says whose it is: ser run made it, or version 0.1.0": not folder.owner,
        "it is of another cluster": not cluster or folder.owner != cluster,
        f"the runs of namespace {run.namespace} may not be listed": known is None,
        "it was written to lately": now - folder.modified < older_than,
        f"{', '.join(followers)} took stages over from it": bool(followers),
        "the spec.from of a run names it": known is not None and not {run.name, run.uid}.isdisjoint(known.wanted),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def delete_folder(store: ObjectStore, run: RunIdentity) -> bool:
    """Delete all that a run has stored, the mark of its owner last, so that an interrupted deletion can be repeated.

    Returns False, with nothing deleted, when another run has begun to use its files.
    """
    mark, owner = put_purge_mark(store, run.namespace, run.name), owner_key(run)
    used = followers_of(store, run)
    for entry in [] if used else list(store.list(f"{run_prefix(run)}/")):
        if entry.key != owner:
            store.delete(entry.key)
    store.delete(mark)
    if not used:
        store.delete(owner)
    return not used


def _users(store: ObjectStore, run: RunIdentity) -> tuple[str, ...]:
    try:
        return tuple(one.name for one in followers_of(store, run))
    except CorruptObject:  # it keeps this folder, and no other
        return ("a run that cannot be told",)


def _leader(store: ObjectStore, run: RunIdentity) -> str:
    try:
        return RunIdentity.model_validate_json(store.get(leader_key(run))).uid
    except (ObjectNotFound, ValidationError):
        return ""
