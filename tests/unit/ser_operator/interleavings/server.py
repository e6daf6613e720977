"""The API server: one history of runs, Jobs and pods, of which each wire is told in its own time, and what truly happened."""

import copy
from collections import defaultdict
from datetime import datetime

from ser_core.loop.observed import Leg
from ser_operator.facts.reading import at, deleting_since, name, owner_uid, state_of, uid
from ser_operator.objects import labels

from ..conftest import FakeCluster, selected
from .promises import Promises

KINDS = ("SERRun", "Job", "Pod")
NAMESPACES = ("lab", "den")


class Server(FakeCluster):
    """What exists, and who is told of it.

    Attributes:
        history: All that happened, to be read when a story ends badly.
        wires: Of the processes that live.
        meddled: Runs, by UID, of which not every Job came to its end by itself.
        legs: When pods ran, by the UIDs of the run and of the Job.
        jobs_of: Names of all Jobs that were ever created, by the UID of the run.
        doubles: Those that were created while another Job of their stage was at work.
        codes: With what the parts of a Job have ended, by its UID and their index.
        failing: UIDs of Jobs that are to end badly, as soon as their pods have ended.
        deleted: Names of Jobs that people have deleted.
        failed: Names of Jobs of which a stage has failed by itself.
        told: Names of Jobs of which a pod has said how it ended.
        unknown_ends: UIDs of runs of which a pod has gone without a word.
    """

    def __init__(self):
        super().__init__()
        self.version, self.history, self.wires = 0, [], []
        self.meddled, self.jobs_of, self.doubles = set(), {}, []
        self.legs = defaultdict(lambda: defaultdict(list))
        self.codes, self.failing, self.failed = defaultdict(dict), set(), set()
        self.deleted, self.told, self.unknown_ends, self.promises = set(), set(), set(), Promises()
        self._shown = {}
        """What a watch by labels shows of every object that it knows, by UID. Nobody changes these."""

    def things(self, kind):
        """Objects of a kind by their key."""
        return {"SERRun": self.runs, "Job": self.jobs, "Pod": self.pods}[kind]

    def shown(self, kind, namespace=None):
        """What a LIST or the begin of a watch shows."""
        found = [self._shown[uid(one)] for one in self.things(kind).values() if is_selected(one)]
        return [one for one in found if namespace in (None, one["metadata"]["namespace"])]

    def stamp(self, thing):
        if thing.get("kind") == "Job" and "uid" not in thing["metadata"]:
            self.jobs_of.setdefault(owner_uid(thing), []).append(name(thing))
            if any(job is not thing and stage_of(job) == stage_of(thing) and self.is_at_work(job) for job in self.jobs.values()):
                self.doubles.append(name(thing))
        answer = super().stamp(thing)
        self._tell("MODIFIED", answer)
        return answer

    def delete(self, kind, key):
        """An object is gone, in a version of its own."""
        thing = self.things(kind).pop(key)
        thing["metadata"]["resourceVersion"] = str(next(self.versions))
        self._tell("DELETED", thing)

    def _tell(self, what, thing):
        self.version = int(thing["metadata"]["resourceVersion"])
        self.history.append(f"{self.version}: {what} {thing.get('kind', 'Pod')} {name(thing)} {uid(thing)}")
        before = self._shown.pop(uid(thing), None)
        if what == "MODIFIED" and is_selected(thing):
            self._shown[uid(thing)] = thing
        elif before is None:  # no watch knows it
            for wire in self.wires:
                wire.is_unheard |= what == "DELETED"
            return
        else:
            what, thing = "DELETED", {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.version)}}
        for wire in self.wires:
            wire.hear(what, thing)

    async def apply_status(self, run, status):
        known = self.runs.get((run["metadata"]["namespace"], name(run)), {})
        before = known.get("status")
        answer = await super().apply_status(run, status)
        self.promises.take_in(answer, before)
        return answer

    async def delete_job(self, job):
        known = self.jobs.get(name(job))
        if known is not None and self.is_at_work(known) and owner_uid(known) not in self.meddled:
            self.promises.broken.append(f"{name(job)} was at work, and nobody wanted it stopped")
        await super().delete_job(job)

    @property
    def unshown(self):
        """UIDs of Jobs that only a GET shows."""
        return {uid(job) for job in self.jobs.values() if not is_selected(job)}

    # What is asked of the objects that belong together

    def jobs_of_run(self, run):
        return [job for job in self.jobs.values() if owner_uid(job) == uid(run)]

    def pods_of(self, job):
        return [pod for pod in self.pods.values() if owner_uid(pod) == uid(job)]

    def active(self, job):
        """Pods of a Job that have not ended."""
        return [pod for pod in self.pods_of(job) if at(pod, "status")["phase"] in ("Pending", "Running")]

    def is_at_work(self, job):
        """Whether a pod of a Job runs, or will."""
        ends = uid(job) in self.failing or deleting_since(job) is not None or len(self.codes[uid(job)]) == job["spec"]["completions"]
        return state_of(job) == "running" and (not ends or bool(self.active(job)))

    def ran(self, run_uid):
        """Seconds in which a pod of each attempt ran, all attempts together."""
        return sum(map(_covered, self.legs[run_uid].values()))

    @property
    def moment(self):
        return f"{self.now:%Y-%m-%dT%H:%M:%SZ}"

    async def list_pods(self, namespace, selector):
        return copy.deepcopy([pod for pod in self.pods.values() if pod["metadata"]["namespace"] == namespace and selected(pod, selector)])


def is_selected(thing):
    """Whether a watch by the operator's labels shows an object."""
    return thing.get("kind") == "SERRun" or labels.are_selected(thing["metadata"].get("labels") or {}, "")


def stage_of(job):
    """Whose it is, and which loop and stage."""
    said = job["spec"]["template"]["metadata"]["labels"]
    return owner_uid(job), said[labels.ITERATION], said[labels.STAGE]


def leg_of(pod):
    """When the stage of an ended pod ran."""
    state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    return Leg(*(datetime.fromisoformat(state[key]) for key in ("startedAt", "finishedAt")))


def _covered(legs):
    total, until = 0.0, None
    for leg in sorted(legs, key=lambda leg: leg.begin):
        begin = leg.begin if until is None else max(leg.begin, until)
        total += max(0.0, (leg.end - begin).total_seconds())
        until = leg.end if until is None else max(until, leg.end)
    return total
