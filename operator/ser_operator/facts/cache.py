"""What the watches and the LISTs have shown of the cluster. A hint, never a proof: before anything is written, the API server is asked.

Newer versions replace older ones whatever way they come, so that a late watch event cannot undo what an answer has shown, nor a LIST what
has come after it.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime

from ser_core.loop.observed import Leg
from ser_operator.facts.kept import Kind, kept
from ser_operator.facts.known_run import KnownRun, known_run
from ser_operator.facts.pods.legs import Legs
from ser_operator.facts.pods.pod_ends import has_failed
from ser_operator.facts.reading import Object, at, completion_index, created_at, name, owner_uid, terminated, uid

RunKey = tuple[str, str]
"""Namespace and name of a SERRun."""
_MOST_ENDS, _NEVER = 10_000, 2**63
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Cache:
    """SERRuns, and the Jobs and pods that may belong to them; of each only what is read (`kept`).

    Args:
        operator_class: Runs of another class are not taken in.
        clock: The time.
    """

    def __init__(self, operator_class: str = "", clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._class = operator_class
        self._runs: dict[str, KnownRun] = {}
        self._uids: dict[Kind, dict[RunKey, str]] = {"SERRun": {}, "Job": {}, "Pod": {}}
        """Of everything by namespace and name: of two objects of one name the newer one is there."""
        self._keys: dict[str, RunKey] = {}
        self._jobs: dict[str, Object] = {}
        self._pods: dict[str, Object] = {}
        self._versions: dict[Kind, dict[str, int]] = {"SERRun": {}, "Job": {}, "Pod": {}}
        """Of everything above, by UID."""
        self._ends: dict[str, int] = {}
        """The version in which an object was gone, by UID, of the last ones: what an answer or a LIST still shows of it is older. One that
        has only lost its labels is gone for the watch, and may come back in that version."""
        self._children: dict[str, set[str]] = {}
        """UIDs of Jobs by the UID of their run, and of pods by the UID of their Job."""
        self._remains: dict[str, dict[int, Object]] = {}
        """The last pods that ended, one for each part of a Job, by the UID of the Job, kept after they are gone: nothing else tells how."""
        self._gone: dict[str, Object] = {}
        """Of each run that goes on the newest Job that is gone, by its UID. It stays a child of its run, and its pods stay known."""
        self._legs = Legs(clock)

    def put(self, kind: Kind, thing: Object) -> RunKey | None:
        """Take in a version of an object; returns the run that it concerns, None when that is unknown or the version is not new.

        So a watch event that repeats a reply of the API server causes no reconcile: the reply was already used.
        """
        identity, version, key = uid(thing), resource_version(thing), run_key(thing)
        if not identity or self._versions[kind].get(identity, -1) >= version > 0 or self._ends.get(identity, 0) > version > 0:
            return None
        if kind == "SERRun" and (at(thing, "spec").get("operatorClass") or "") != self._class:
            return None
        if not self._has_the_name(kind, key, identity, version):
            return None
        thing = kept(kind, thing)
        self._versions[kind][identity], self._uids[kind][key] = version, identity
        return self._put_run(identity, key, thing) if kind == "SERRun" else self._put_child(kind, identity, thing)

    def _has_the_name(self, kind: Kind, key: RunKey, identity: str, version: int) -> bool:
        """Whether an object is the one of its name; then an older one of that name is gone."""
        namesake = self._uids[kind].get(key, identity)
        if namesake == identity:
            return True
        if self._versions[kind][namesake] > version > 0:
            return False  # an answer that comes after the news that its object is gone
        self.remove(kind, self._last(kind, namesake))
        self._end(namesake, version)
        return True

    def _put_run(self, identity: str, key: RunKey, run: Object) -> RunKey:
        self._runs[identity], self._keys[identity] = known_run(run), key
        if self._runs[identity].has_ended:
            self._forget_gone(identity)
        return key

    def _put_child(self, kind: Kind, identity: str, child: Object) -> RunKey | None:
        before = self._of(kind).get(identity) or self._gone.pop(identity, None)
        if before is not None:
            self._unlink(before)
        self._of(kind)[identity] = child
        if kind == "Pod":
            self._legs.see(child)
        self._children.setdefault(owner_uid(child), set()).add(identity)
        # its run, or the one that has lost it
        return self.key_of(kind, child) or (self.key_of(kind, before) if before is not None else None)

    def remove(self, kind: Kind, thing: Object, *, for_good: bool = False) -> RunKey | None:
        """Forget an object; returns the run that it concerned.

        Args:
            kind: Its kind.
            thing: Its last version.
            for_good: Whether the API server has said that there is none, so that whatever a watch may still tell of it is old.
        """
        key = self.key_of(kind, thing)
        identity = uid(thing)
        last = max(self._versions[kind].pop(identity, 0), resource_version(thing))
        self._end(identity, _NEVER if for_good else last)
        if kind == "SERRun":
            self._forget_run(identity)
        elif (known := self._of(kind).pop(identity, None)) is not None:
            self._forget_name(kind, run_key(known), identity)
            if kind == "Pod":
                self._unlink(known)
                self._lose_pod(thing, owner_uid(known))
            else:
                self._lose_job(known)
        return key

    def _unlink(self, child: Object) -> None:
        siblings = self._children.get(owner_uid(child), set())
        siblings.discard(uid(child))
        if not siblings:
            self._children.pop(owner_uid(child), None)

    def _end(self, identity: str, version: int) -> None:
        self._ends[identity] = version
        if len(self._ends) > _MOST_ENDS:
            del self._ends[next(iter(self._ends))]

    def _forget_run(self, identity: str) -> None:
        self._runs.pop(identity, None)
        self._forget_gone(identity)
        key = self._keys.pop(identity, None)
        if key is not None:
            self._forget_name("SERRun", key, identity)

    def _forget_name(self, kind: Kind, key: RunKey, identity: str) -> None:
        if self._uids[kind].get(key) == identity:
            del self._uids[kind][key]

    def _lose_job(self, job: Object) -> None:
        run = owner_uid(job)
        goes_on = run in self._runs and not self._runs[run].has_ended
        newer = [one for one in self._gone_of(run) if (created_at(one) or _LONG_AGO) > (created_at(job) or _LONG_AGO)]
        if goes_on and not newer:
            self._forget_gone(run)
            self._gone[uid(job)] = job
        else:
            self._forget_job(job)

    def _lose_pod(self, last: Object, job_uid: str) -> None:
        self._legs.lose(last)
        if job_uid not in self._jobs and job_uid not in self._gone:
            self._legs.forget(job_uid)
        elif terminated(last) or has_failed(last):
            self._remains.setdefault(job_uid, {})[completion_index(last)] = kept("Pod", last)

    def _gone_of(self, run_uid: str) -> list[Object]:
        return [self._gone[child] for child in self._children.get(run_uid, ()) if child in self._gone]

    def _forget_gone(self, run_uid: str) -> None:
        for job in self._gone_of(run_uid):
            self._forget_job(job)

    def _forget_job(self, job: Object) -> None:
        self._gone.pop(uid(job), None)
        self._remains.pop(uid(job), None)
        self._legs.forget(uid(job))
        self._unlink(job)

    def forget_unlisted(self, kind: Kind, listed: Collection[str], namespace: str | None, version: int) -> set[RunKey]:
        """Forget what a LIST has not shown.

        Args:
            kind: What was listed.
            listed: UIDs of all that the LIST has shown.
            namespace: Where; None: in the whole cluster.
            version: Of the LIST. What is newer was made after it, so that it says nothing of it.

        Returns:
            The runs that this concerns.
        """
        gone = [one for one, own in self._versions[kind].items() if one not in listed and own <= version]
        here = [one for one in gone if namespace in (None, self._namespace_of(kind, one))]
        changed = {self.remove(kind, self._last(kind, one)) for one in here}
        return {key for key in changed if key is not None}

    def run(self, key: RunKey) -> Object | None:
        """The SERRun of a key."""
        known = self.known(key)
        return known.body() if known is not None else None

    def known(self, key: RunKey) -> KnownRun | None:
        """What is asked of a run most often."""
        return self._runs.get(self._uids["SERRun"].get(key, ""))

    def runs(self) -> list[KnownRun]:
        """All SERRuns."""
        return list(self._runs.values())

    def is_over(self, key: RunKey) -> bool:
        """Whether a run has ended, was told so of the spec that it has, and has no Jobs left: nothing is to be done about it.

        Not where the spec could not be read: an operator that has just started may be another version, which can.
        """
        known = self.known(key)
        rests = known is not None and known.has_ended and known.is_seen and not known.is_misread
        return rests and not self.jobs(self._uids["SERRun"][key])

    def sizes(self) -> dict[str, int]:
        """Number of objects by kind."""
        return {kind: len(versions) for kind, versions in self._versions.items()}

    def all_jobs(self) -> list[Object]:
        """All Jobs."""
        return list(self._jobs.values())

    def jobs(self, run_uid: str) -> list[Object]:
        """Jobs that a run controls."""
        return [self._jobs[child] for child in self._children.get(run_uid, ()) if child in self._jobs]

    def gone(self, run_uid: str) -> tuple[list[Object], list[Object]]:
        """The newest Job of a run that is gone, as one that is being deleted, and its pods: how it ended, if that was seen."""
        jobs = self._gone_of(run_uid)
        return list(map(_going, jobs)), [pod for job in jobs for pod in self.pods(uid(job))]

    def legs(self, job_uid: str) -> tuple[Leg, ...]:
        """When the pods of a Job ran, also those that are gone."""
        return self._legs.of(job_uid)

    def pods(self, job_uid: str) -> list[Object]:
        """Pods that a Job controls, and `remains`."""
        found = [self._pods[child] for child in self._children.get(job_uid, ()) if child in self._pods]
        return [*found, *self.remains(job_uid, found)]

    def remains(self, job_uid: str, found: Iterable[Object]) -> list[Object]:
        """Ended pods of a Job that are gone, one for each part of the Job without a pod in ``found``."""
        there = {completion_index(pod) for pod in found}
        return [pod for index, pod in self._remains.get(job_uid, {}).items() if index not in there]

    def key_of(self, kind: Kind, thing: Object) -> RunKey | None:
        """The run that an object is or belongs to, by its controllers alone."""
        if kind == "SERRun":
            return self._keys.get(uid(thing))
        if kind == "Job":
            return self._keys.get(owner_uid(thing))
        job = self._jobs.get(owner_uid(thing))
        return self._keys.get(owner_uid(job)) if job is not None else None

    def _of(self, kind: Kind) -> dict[str, Object]:
        return self._jobs if kind == "Job" else self._pods

    def _last(self, kind: Kind, identity: str) -> Object:
        """The last version that is known; of a run its UID, by which it is found."""
        return {"metadata": {"uid": identity}} if kind == "SERRun" else self._of(kind)[identity]

    def _namespace_of(self, kind: Kind, identity: str) -> str:
        return self._keys[identity][0] if kind == "SERRun" else run_key(self._of(kind)[identity])[0]


def _going(job: Object) -> Object:
    return {**job, "metadata": {"deletionTimestamp": job["metadata"].get("creationTimestamp"), **job["metadata"]}}


def run_key(thing: Object) -> RunKey:
    """Namespace and name."""
    return str(thing["metadata"].get("namespace", "")), name(thing)


def resource_version(thing: Object) -> int:
    """``metadata.resourceVersion``, which may be compared since Kubernetes 1.35; 0 where it is no number."""
    text = str(thing["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0
