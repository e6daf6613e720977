"""Back-references: in the folder of a leader, one small object for each run that uses its files. They hold back `purge`.

A follower writes its back-reference first, then looks for the mark of a purge, and only then commits a manifest that names the leader's
files. A purge writes its mark first, then looks for back-references. So of two that meet, at least one sees the other. In the same way meet
a follower and a leader that removes models (`ser_core.store.runs.retaining`).
"""

from collections.abc import Collection, Iterator, Mapping

from pydantic import ValidationError

from ser_core.api.stage import RunIdentity
from ser_core.errors import CorruptObject, ObjectNotFound
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.manifest import OutputFile, run_prefix
from ser_core.store.stages.removed import why_removed

_FOLDER = "followers"
_DEPTH = 4
"""Namespace, name and UID of a run, and something in its folder."""


def purge_mark(namespace: str, name: str) -> str:
    """Key of the object that says that a name's runs are being purged."""
    return f"{namespace}/{name}/PURGE"


def put_purge_mark(store: ObjectStore, namespace: str, name: str) -> str:
    """Say that a name's runs are being purged; returns the mark's key. Where nothing may be deleted nothing is marked."""
    mark = purge_mark(namespace, name)
    store.delete(mark)
    store.put(mark, b"")
    return mark


def lie_outside(namespace: str, outputs: Mapping[str, OutputFile]) -> bool:
    """Whether some output lies in no run's folder of a namespace: then somebody has changed the manifest."""
    places = [part.key.split("/") for part in outputs.values()]
    return any(place[0] != namespace or len(place) < _DEPTH or not {"", ".", ".."}.isdisjoint(place) for place in places)


def owners(outputs: Mapping[str, OutputFile]) -> set[RunIdentity]:
    """The runs in whose folders the outputs lie."""
    folders = {tuple(part.key.split("/")[:3]) for part in outputs.values()}
    return {RunIdentity(namespace=namespace, name=name, uid=uid) for namespace, name, uid in folders}


def refer_back(store: ObjectStore, follower: RunIdentity, outputs: Mapping[str, OutputFile]) -> str:
    """Write a back-reference into every folder that outputs lie in. Returns why they may not be used; empty: they may.

    The follower's folder must not be empty (`leader`): a back-reference counts only as long as its run stores something.
    """
    for owner in owners(outputs) - {follower}:
        store.put(f"{run_prefix(owner)}/{_FOLDER}/{follower.uid}.json", follower.model_dump_json(by_alias=True).encode())
        if _exists(store, purge_mark(owner.namespace, owner.name)):
            return f"{owner.name} is being purged"
    return why_removed(store, (part.key for part in outputs.values())) or _missing(store, outputs)


def followers(store: ObjectStore, namespace: str, name: str, purged: Collection[tuple[str, str]] = ()) -> list[RunIdentity]:
    """The runs that use files of any run of a name, and still store something.

    Args:
        store: Which store.
        namespace: Of the leaders.
        name: Of the leaders.
        purged: Namespace and name of runs that do not count, since they go together with it.
    """
    ignored = {(namespace, name), *purged}
    found = {follower for uid in store.folders(f"{namespace}/{name}/") for follower in _of_run(store, f"{namespace}/{name}/{uid}")}
    alive = [one for one in found if (one.namespace, one.name) not in ignored and next(store.list(f"{run_prefix(one)}/"), None)]
    return sorted(alive, key=lambda one: (one.name, one.uid))


def followers_of(store: ObjectStore, leader: RunIdentity) -> list[RunIdentity]:
    """The runs that use files of one run, and still store something; one of the same name, but another UID, too."""
    return [one for one in _of_run(store, run_prefix(leader)) if one.uid != leader.uid and next(store.list(f"{run_prefix(one)}/"), None)]


def _of_run(store: ObjectStore, folder: str) -> Iterator[RunIdentity]:
    for entry in store.list(f"{folder}/{_FOLDER}/"):
        try:
            found = RunIdentity.model_validate_json(store.get(entry.key))
        except ValidationError as error:
            raise CorruptObject(f"{store.uri(entry.key)} names no run: {error.errors()[0]['msg']}", hint="remove it") from error
        if any(part in ("", ".", "..") or "/" in part for part in (found.namespace, found.name, found.uid)):
            raise CorruptObject(f"{store.uri(entry.key)} names no run", hint="remove it")
        yield found


def _missing(store: ObjectStore, outputs: Mapping[str, OutputFile]) -> str:
    """Why outputs cannot be read, as far as a listing tells."""
    folders = {part.key.removesuffix(name) for name, part in outputs.items()}
    sizes = {entry.key: entry.size for folder in folders for entry in store.list(folder)}
    gone = [name for name, part in sorted(outputs.items()) if sizes.get(part.key) != part.size]
    return f"{gone[0]} is not stored any more" if gone else ""


def _exists(store: ObjectStore, key: str) -> bool:
    try:
        store.get(key)
    except ObjectNotFound:
        return False
    return True
