"""What people do, and the queue that they have set up. Every step is one change of one object."""

from functools import partial

from ser_operator.facts.reading import at, deleting_since, name, owner_uid, state_of, uid
from ser_operator.objects.labels import MANAGED_BY, OPERATOR, QUEUE

from .server import NAMESPACES

NAMES = ("climb", "ridge")
GANG = {"resources": {"retrain": {"nodes": 2}, "label": {"nodes": 2}}}
QUEUED = {"queueName": "lab"}
SPECS = ({}, {}, GANG, QUEUED, GANG | QUEUED)


class People:
    """Those who have runs, and those who meddle."""

    def __init__(self, server):
        self._server = server

    def steps(self):
        """What people may do now."""
        runs = {key: run for key, run in self._server.runs.items() if deleting_since(run) is None}
        on_runs = (self.delete, self.delete_when_empty, self.replace, self.suspend, self.label, self.ask_for_more)
        failed = [key for key, run in runs.items() if at(run, "status").get("phase") == "Failed"]
        return [
            *(partial(self.apply, key, spec) for key in self.free() for spec in SPECS),
            *(partial(step, key) for step in on_runs for key in runs),
            *(partial(self.retry, key) for key in failed),
        ]

    def strangers(self):
        """What may befall a Job now."""
        jobs = [job for job in self._server.jobs.values() if deleting_since(job) is None]
        return [partial(step, job) for step in (self.delete_job, self.delete_job_at_once, self.relabel) for job in jobs]

    def free(self):
        """Names that no run has."""
        return [(space, name) for space in NAMESPACES for name in NAMES if (space, name) not in self._server.runs]

    def apply(self, key, spec):
        space, name = key
        self._server.apply(name, spec, namespace=space)

    def delete(self, key):
        self._server.delete("SERRun", key)

    def delete_when_empty(self, key):
        """With --cascade=foreground."""
        run = self._server.runs[key]
        run["metadata"]["deletionTimestamp"] = self._server.moment
        self._server.stamp(run)

    def replace(self, key):
        spec = {name: value for name, value in self._server.runs[key]["spec"].items() if name in ("resources", "queueName")}
        self.delete(key)
        self.apply(key, spec)

    def suspend(self, key):
        """Or resume."""
        self._change(key, suspend=not self._server.runs[key]["spec"].get("suspend", False))

    def retry(self, key):
        self._change(key, reopen=self._server.runs[key]["spec"].get("reopen", 0) + 1)

    def ask_for_more(self, key):
        """Or for less: what waits is made anew."""
        spec = self._server.runs[key]["spec"]
        before = spec.get("resources", {})
        cpu = {None: "2", "2": "3", "3": "2"}[before.get("retrain", {}).get("cpu")]
        self._change(key, resources={**before, "retrain": {**before.get("retrain", {}), "cpu": cpu}})

    def _change(self, key, **spec):
        run = self._server.runs[key]
        self._server.meddled.add(uid(run))
        run["spec"] = {**run["spec"], **spec}
        run["metadata"]["generation"] += 1
        self._server.stamp(run)

    def label(self, key):
        run = self._server.runs[key]
        run["metadata"]["labels"] = {"seen": str(self._server.version)}
        self._server.stamp(run)

    def delete_job(self, job):
        self._meddle(job)
        job["metadata"]["deletionTimestamp"] = self._server.moment
        self._server.stamp(job)

    def delete_job_at_once(self, job):
        """Its pods go after it: how those end that have not yet, nobody asks."""
        self._meddle(job)
        if self._server.active(job):
            self._server.unknown_ends.add(owner_uid(job))
        self._server.delete("Job", name(job))

    def _meddle(self, job):
        self._server.meddled.add(owner_uid(job))
        self._server.deleted.add(name(job))

    def relabel(self, job):
        """Take the labels away by which the operator watches, or put them back."""
        self._server.meddled.add(owner_uid(job))
        said = job["metadata"]["labels"]
        said.pop(MANAGED_BY) if MANAGED_BY in said else said.update({MANAGED_BY: OPERATOR})
        self._server.stamp(job)


class Queue:
    """Kueue, as far as a Job feels it."""

    def __init__(self, server):
        self._server = server

    def _jobs(self, *, suspended):
        found = (job for job in self._server.jobs.values() if QUEUE in job["metadata"]["labels"] and deleting_since(job) is None)
        return [job for job in found if state_of(job) == "running" and job["spec"]["suspend"] is suspended]

    def admissions(self):
        """Jobs that may begin now."""
        return [partial(self.admit, job) for job in self._jobs(suspended=True) if not self._server.active(job)]

    def evictions(self):
        """Jobs that may have to wait again."""
        return [partial(self.evict, job) for job in self._jobs(suspended=False) if uid(job) not in self._server.failing]

    def admit(self, job):
        job["spec"]["suspend"] = False
        job["spec"]["template"]["spec"]["nodeSelector"] = {"pool": "a"}
        self._server.stamp(job)

    def evict(self, job):
        self._server.meddled.add(owner_uid(job))
        job["spec"]["suspend"] = True
        job["spec"]["template"]["spec"].pop("nodeSelector", None)
        self._server.stamp(job)
