"""What the watches and the LISTs have shown of the cluster. A hint, never a proof: before anything is written, the API server is asked.

Newer versions replace older ones whatever way they come, so that a late watch event cannot undo what an answer has shown.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ser_operator.facts.reading import completion_index, name, owner_uid, terminated, uid

Object = Mapping[str, Any]
Kind = Literal["SERRun", "Job", "Pod"]
RunKey = tuple[str, str]
"""Namespace and name of a SERRun."""


class Cache:
    """SERRuns, and the Jobs and pods that may belong to them."""

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[str, Object]] = {"SERRun": {}, "Job": {}, "Pod": {}}
        self._children: dict[str, set[str]] = {}
        """UIDs of Jobs by the UID of their run, and of pods by the UID of their Job."""
        self._remains: dict[str, dict[int, Object]] = {}
        """The last pods that ended, one for each part of a Job, by the UID of the Job, kept after they are gone: nothing else tells how."""
        self._gone: dict[str, tuple[Object, list[Object]]] = {}
        """The last Job that is gone, with its pods as they were then, by the UID of its run."""
        self._runs: dict[RunKey, str] = {}
        self._keys: dict[str, RunKey] = {}

    def put(self, kind: Kind, thing: Object) -> RunKey | None:
        """Take in a version of an object; returns the run that it concerns, None when that is unknown or the version is not new.

        So a watch event that repeats a reply of the API server causes no reconcile: the reply was already used.
        """
        identity = uid(thing)
        known = self._objects[kind].get(identity)
        thing = _without_managed_fields(thing)
        if not identity or (known is not None and _version(known) >= _version(thing) > 0):
            return None
        if known is not None and kind != "SERRun":
            self._children.get(owner_uid(known), set()).discard(identity)
        self._objects[kind][identity] = thing
        if kind == "SERRun":
            key = run_key(thing)
            self._runs[key], self._keys[identity] = identity, key
        else:
            self._children.setdefault(owner_uid(thing), set()).add(identity)
        return self.key_of(kind, thing) or (self.key_of(kind, known) if known is not None else None)  # its run, or the one that has lost it

    def remove(self, kind: Kind, thing: Object) -> RunKey | None:
        """Forget an object; returns the run that it concerned."""
        key = self.key_of(kind, thing)
        identity = uid(thing)
        known = self._objects[kind].pop(identity, None)
        if kind == "SERRun":
            self._keys.pop(identity, None)
            self._gone.pop(identity, None)
            if key is not None and self._runs.get(key) == identity:
                del self._runs[key]
        elif known is not None:
            owner = owner_uid(known)
            if kind == "Job":
                if owner in self._keys:
                    self._gone[owner] = known, self.pods(identity)
                self._remains.pop(identity, None)
            elif terminated(thing):
                self._remains.setdefault(owner, {})[completion_index(thing)] = _without_managed_fields(thing)
            siblings = self._children.get(owner, set())
            siblings.discard(identity)
            if not siblings:
                self._children.pop(owner, None)
        return key

    def replace(self, kind: Kind, things: Iterable[Object], namespace: str | None) -> set[RunKey]:
        """Make the cache of ``kind`` what a LIST has shown; returns the runs for which that changed anything."""
        listed = {uid(thing): thing for thing in things}
        changed = set()
        for identity, known in list(self._objects[kind].items()):
            if identity not in listed and namespace in (None, _namespace(known)):
                changed.add(self.remove(kind, known))
        for identity, thing in listed.items():
            before = self._objects[kind].get(identity)
            if before is None or _version(before) < _version(thing):
                changed.add(self.put(kind, thing))
        return {key for key in changed if key is not None}

    def run(self, key: RunKey) -> Object | None:
        """The SERRun of a key."""
        identity = self._runs.get(key)
        return self._objects["SERRun"].get(identity) if identity else None

    def runs(self) -> list[Object]:
        """All SERRuns."""
        return list(self._objects["SERRun"].values())

    def sizes(self) -> dict[str, int]:
        """Number of objects by kind."""
        return {kind: len(objects) for kind, objects in self._objects.items()}

    def all_jobs(self) -> list[Object]:
        """All Jobs."""
        return list(self._objects["Job"].values())

    def jobs(self, run_uid: str) -> list[Object]:
        """Jobs that a run controls."""
        return [self._objects["Job"][child] for child in self._children.get(run_uid, ()) if child in self._objects["Job"]]

    def gone(self, run_uid: str) -> tuple[list[Object], list[Object]]:
        """The last Job of a run that is gone, and its pods: how it ended, if that was seen."""
        job, pods = self._gone.get(run_uid, (None, []))
        return ([] if job is None else [job]), pods

    def pods(self, job_uid: str) -> list[Object]:
        """Pods that a Job controls, and `remains`."""
        found = [self._objects["Pod"][child] for child in self._children.get(job_uid, ()) if child in self._objects["Pod"]]
        return [*found, *self.remains(job_uid, found)]

    def remains(self, job_uid: str, found: Iterable[Object]) -> list[Object]:
        """Ended pods of a Job that are gone, one for each part of the Job without a pod in ``found``."""
        there = {completion_index(pod) for pod in found}
        return [pod for index, pod in self._remains.get(job_uid, {}).items() if index not in there]

    def key_of(self, kind: Kind, thing: Object) -> RunKey | None:
        """The run that an object is or belongs to, by its controllers alone."""
        if kind == "SERRun":
            return run_key(thing)
        if kind == "Job":
            return self._keys.get(owner_uid(thing))
        job = self._objects["Job"].get(owner_uid(thing))
        return self._keys.get(owner_uid(job)) if job is not None else None


def run_key(thing: Object) -> RunKey:
    """Namespace and name."""
    return _namespace(thing), name(thing)


def _without_managed_fields(thing: Object) -> Object:
    """Managed fields are a third of an object, and nothing here reads them."""
    metadata = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    return {**thing, "metadata": metadata}


def _namespace(thing: Object) -> str:
    return str(thing["metadata"].get("namespace", ""))


def _version(thing: Object) -> int:
    """``metadata.resourceVersion``, which may be compared since Kubernetes 1.35."""
    text = str(thing["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0
