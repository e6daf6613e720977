"""Deleting what runs of a name have stored."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from ser_core.errors import SpecError
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.followers import followers, put_purge_mark

Together = Collection[tuple[str, str]]
"""Namespace and name of all that is purged together."""


_OF_A_RUN = re.compile(r"run\.json|PURGE|LOCK[^/]*\.json|[^/]+/((OWNER|REMOVED|from)\.json|probe-[^/]+|(followers|iter-\d{4})/.+)")


@dataclass(frozen=True, slots=True)
class Stored:
    """How much a run keeps."""

    objects: int
    bytes: int
    of_a_run: bool = True
    """Whether anything in it is what runs store."""


def stored(store: ObjectStore, namespace: str, name: str) -> Stored:
    """What `purge` would delete."""
    found = list(store.list(f"{namespace}/{name}/"))
    of_a_run = any(_OF_A_RUN.fullmatch(entry.key.removeprefix(f"{namespace}/{name}/")) for entry in found)
    return Stored(len(found), sum(entry.size for entry in found), of_a_run)


def refuse_followed(store: ObjectStore, namespace: str, name: str, together: Together = ()) -> None:
    """Raise `SpecError` ``HasFollowers`` when other runs that are still stored use files of runs of this name (`spec.from`)."""
    found = followers(store, namespace, name, together)
    if found:
        names = ", ".join(f"{one.name} ({one.uid})" for one in found)
        raise SpecError(
            f"files of {namespace}/{name} are also those of {names}, which took stages over from it",
            reason="HasFollowers",
            hint=f"purge with it, in one command, the SERRun file of {', '.join(sorted({one.name for one in found}))}, or keep it",
        )


def purge(store: ObjectStore, namespace: str, name: str, together: Together = ()) -> Stored:
    """Delete everything that runs of this name have stored, run.json last, so that an interrupted purge can be repeated.

    Raises:
        SpecError: Runs that are not purged ``together`` with it use its files (``HasFollowers``); nothing was deleted.
    """
    mark = put_purge_mark(store, namespace, name)
    try:
        refuse_followed(store, namespace, name, together)
    except SpecError:
        store.delete(mark)
        raise
    found = sorted(store.list(f"{namespace}/{name}/"), key=lambda entry: entry.key.count("/"), reverse=True)
    for entry in found:
        store.delete(entry.key)
    deleted = [entry for entry in found if entry.key != mark]
    return Stored(len(deleted), sum(entry.size for entry in deleted))
