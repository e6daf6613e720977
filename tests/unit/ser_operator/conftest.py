"""A cluster in memory, just enough of one: versions, UIDs, preconditions, taken names, and a Job controller that a test drives."""

import asyncio
import copy
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.faults.stage_double import StageDouble
from controlplane.faults.truth_table import check_conditions
from ser_core.api.stage import StageSpec
from ser_core.api.status import SERRunStatus
from ser_operator.cluster.glances import Glances
from ser_operator.cluster.progress_polls import ProgressPolls
from ser_operator.cluster.transport import ApiError
from ser_operator.facts.cache import Cache
from ser_operator.loop.reconcile import Reconciler
from ser_operator.settings import Settings

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
SPEC = {
    "rewardModel": {"base": "hf://org/model"},
    "data": {"source": {"uri": "hf://org/data"}},
    "storage": {"uri": "s3://bucket/runs"},
    "loop": {"maxIterations": 1, "rule": "calibrated"},
}


class Crash(BaseException):
    """The operator process dies."""


class FakeCluster:
    """SERRuns, Jobs, pods and Events of a cluster. ``before`` and ``after`` are called around every write, with its number."""

    def __init__(self):
        self.runs, self.jobs, self.pods, self.events, self.services = {}, {}, {}, {}, {}
        self.versions, self.uids = itertools.count(1), itertools.count(1)
        self.writes = []
        self.creates = []
        self.now = START
        self.before = self.after = lambda number, what: None
        self.refuse_jobs = None
        self.workloads, self.asked_for_workloads = [], 0
        self.templates = {}

    def stamp(self, thing):
        thing["metadata"]["resourceVersion"] = str(next(self.versions))
        thing["metadata"].setdefault("creationTimestamp", f"{self.now:%Y-%m-%dT%H:%M:%SZ}")
        thing["metadata"].setdefault("uid", f"uid-{next(self.uids)}")
        return copy.deepcopy(thing)

    def write(self, what, effect):
        number = len(self.writes)
        self.writes.append(what)
        self.before(number, what)
        answer = effect()
        self.after(number, what)
        return answer

    # The port

    async def get_run(self, namespace, name):
        return copy.deepcopy(self.runs.get((namespace, name)))

    async def get_template(self, namespace, name):
        found = self.templates.get((namespace, name))
        if isinstance(found, ApiError):
            raise found
        return copy.deepcopy(found)

    async def apply_status(self, run, status):
        def effect():
            known = self.runs.get((run["metadata"]["namespace"], run["metadata"]["name"]))
            if known is None:
                raise ApiError(404, "gone")
            if any(known["metadata"][key] != run["metadata"][key] for key in ("uid", "resourceVersion")):
                raise ApiError(409, "changed")
            known["status"] = json.loads(json.dumps(status))
            return self.stamp(known)

        return self.write("status", effect)

    async def get_job(self, namespace, name):
        return copy.deepcopy(self.jobs.get(name))

    async def create_job(self, job):
        def effect():
            if self.refuse_jobs is not None:
                raise self.refuse_jobs
            name = job["metadata"]["name"]
            if name in self.jobs:
                raise ApiError(409, f'jobs "{name}" already exists')
            assert job["spec"]["template"]["spec"].get("subdomain") in (None, *self.services), "pods of a gang that could not meet"
            self.creates.append(name)
            self.jobs[name] = copy.deepcopy(dict(job))
            return self.stamp(self.jobs[name])

        return self.write("job", effect)

    async def delete_job(self, job):
        def effect():
            known = self.jobs.get(job["metadata"]["name"])
            if known is not None and known["metadata"]["uid"] == job["metadata"]["uid"]:
                known["metadata"]["deletionTimestamp"] = f"{self.now:%Y-%m-%dT%H:%M:%SZ}"
                self.stamp(known)

        return self.write("delete", effect)

    async def get_service(self, namespace, name):
        return copy.deepcopy(self.services.get(name))

    async def create_service(self, service):
        def effect():
            name = service["metadata"]["name"]
            if name in self.services:
                raise ApiError(409, f'services "{name}" already exists')
            self.services[name] = copy.deepcopy(service)
            return self.stamp(self.services[name])

        return self.write("service", effect)

    async def list_pods(self, namespace, selector):
        return copy.deepcopy([pod for pod in self.pods.values() if selected(pod, selector)])

    async def list_events(self, namespace, uid):
        return [event for event in self.events.values() if event["involvedObject"]["uid"] == uid]

    async def create_event(self, event):
        self.write("event", lambda: self.events.setdefault(event["metadata"]["name"], event))

    async def list_workloads(self, namespace, job_uid):
        self.asked_for_workloads += 1
        if isinstance(self.workloads, ApiError):
            raise self.workloads
        return [one for one in self.workloads if selected(one, f"kueue.x-k8s.io/job-uid={job_uid}")]

    # What the rest of a cluster does

    def apply(self, name="climb", spec=None, status=None, namespace="lab"):
        run = {
            "apiVersion": "ser.dev/v1alpha1",
            "kind": "SERRun",
            "metadata": {"name": name, "namespace": namespace, "generation": 1},
            "spec": {**SPEC, **(spec or {})},
        }
        if status is not None:
            run["status"] = status
        self.runs[namespace, name] = run
        return self.stamp(run)

    def stage(self, job):
        environment = {entry["name"]: entry.get("value") for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        return StageSpec.model_validate_json(environment["SER_STAGE"])

    def add_pod(self, job, name="", index=0, **status):
        pod = {
            "metadata": {
                "name": name or f"{job['metadata']['name']}-abcde",
                "namespace": job["metadata"]["namespace"],
                "labels": dict(job["spec"]["template"]["metadata"]["labels"]),
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                "ownerReferences": [{"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"], "controller": True}],
            },
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Pending", **status},
        }
        self.pods[pod["metadata"]["name"]] = pod
        self.stamp(pod)
        return pod

    def end(self, job, exit_code, message="", reason="Completed"):
        """End the pod of a Job, and the Job."""
        moment = f"{self.now:%Y-%m-%dT%H:%M:%SZ}"
        pod = self.pods.get(f"{job['metadata']['name']}-abcde") or self.add_pod(job)
        state = {"exitCode": exit_code, "message": message, "reason": reason, "startedAt": moment, "finishedAt": moment}
        pod["status"] = {"phase": "Succeeded" if exit_code == 0 else "Failed", "containerStatuses": [{"state": {"terminated": state}}]}
        self.stamp(pod)
        kind = "Complete" if exit_code == 0 else "Failed"
        job["status"] = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": moment}]}
        self.stamp(job)

    def vanish(self, name):
        self.jobs.pop(name, None)
        self.pods.pop(f"{name}-abcde", None)

    def live_jobs(self):
        return [job for job in self.jobs.values() if not job.get("status", {}).get("conditions")]


def selected(thing, selector):
    key, _, value = selector.partition("=")
    return thing["metadata"].get("labels", {}).get(key) == value


class World:
    """A cluster, a store of committed stages, and an operator that can die."""

    def __init__(self, **settings):
        self.cluster = FakeCluster()
        self.settings = Settings(image="registry.example/ser:1", **settings)
        self.stages = StageDouble()
        self.hurry = False
        self.start_operator()

    def start_operator(self):
        clock = lambda: self.cluster.now  # noqa: E731
        self.cache = Cache(self.settings.operator_class, clock)
        self.polls = ProgressPolls(no_progress, lambda _run: None)
        glances = Glances(self.cluster, self.settings, self.polls)
        self.reconciler = Reconciler(self.cluster, self.cache, self.settings, glances, clock, lambda: self.hurry, "")
        self.sync()

    def sync(self):
        """The watches and the resync bring everything."""
        for kind, things in (("SERRun", self.cluster.runs), ("Job", self.cluster.jobs), ("Pod", self.cluster.pods)):
            for thing in copy.deepcopy(list(things.values())):
                self.cache.put(kind, thing)
            self.cache.forget_unlisted(kind, {thing["metadata"]["uid"] for thing in things.values()}, None, 10**9)

    def reconcile(self, name="climb"):
        again = asyncio.run(self.reconciler.reconcile(("lab", name)))
        if status := self.cluster.runs["lab", name].get("status"):
            check_conditions(status)
        return again

    def finish_stage(self, job):
        """What the stage process does: commit once, report the same ever after."""
        exit_code, message = self.stages({"SER_STAGE": self.cluster.stage(job).model_dump_json(by_alias=True)})
        self.cluster.end(job, exit_code, message)

    @property
    def executed(self):
        """The stages that were computed, each as often as it was."""
        return list(self.stages.executed.elements())

    def drive(self, steps=200):
        """Reconcile, let stages end and time pass until the run has ended."""
        for _ in range(steps):
            self.sync()
            again = self.reconcile()
            if self.status.phase in ("Completed", "Failed"):
                return self
            self.sync()
            deleting = [job for job in self.cluster.jobs.values() if job["metadata"].get("deletionTimestamp")]
            for job in deleting:
                self.cluster.vanish(job["metadata"]["name"])
            for job in self.cluster.live_jobs():
                self.finish_stage(job)
            self.cluster.now += timedelta(seconds=1 if self.cluster.live_jobs() or not again else min(again, 60))
        raise AssertionError(f"no end: {self.status.phase} {self.status.message}")

    def drive_through_a_crash(self, number, side):
        """The same, with a crash before or after that write, and another operator that goes on."""

        def crash(at, what):
            if at == number:
                raise Crash

        setattr(self.cluster, side, crash)
        try:
            self.drive()
        except Crash:
            self.start_operator()
            self.drive()

    @property
    def status(self):
        return SERRunStatus.model_validate(self.cluster.runs["lab", "climb"].get("status", {}))

    def condition(self, kind):
        return next(one for one in self.status.conditions if one.type == kind)


async def no_progress(_address):
    return None


@pytest.fixture
def make_operator():
    return World


@pytest.fixture
def operator(make_operator):
    return make_operator()
