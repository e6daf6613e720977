"""What controllers, kubelets and nodes do. Every step is one change of one object."""

import itertools
from functools import partial

from controlplane.faults.stage_double import StageDouble
from ser_operator.facts.reading import at, by_index, completion_index, deleting_since, name, owner_uid, state_of, uid
from ser_operator.objects.render import NEVER_RETRIED

from .server import leg_of

STOPPED = 143
FAULTS = (1, 3, 20, 21, 22, 143)
"""Exit codes of stages that fail: nobody knows why twice, the store, memory, it hung, it was stopped."""


class Controllers:
    """The Job controller, the garbage collector, the kubelets, and the nodes that they lose.

    Attributes:
        stages: What has been computed.
    """

    def __init__(self, server):
        self._server, self.stages, self._numbers = server, StageDouble(), itertools.count(1000)
        self._retried = set()

    def steps(self):
        """All that may happen next while nothing goes wrong."""
        server = self._server
        jobs, uids = [job for job in server.jobs.values() if state_of(job) == "running"], set(map(uid, server.jobs.values()))
        return [
            *(partial(self.add_pod, job, index) for job in jobs for index in self._missing(job)),
            *(step for job in jobs for pod in server.active(job) for step in self._of_pod(job, pod)),
            *(partial(self._end_orphan, pod) for pod in server.pods.values() if _is_active(pod) and owner_uid(pod) not in uids),
            *(partial(self.end_job, job) for job in jobs if self._is_over(job) and not server.active(job)),
            *(partial(server.delete, *gone) for gone in self._garbage()),
            *(partial(self.delete_with_its_run, job) for job in server.jobs.values() if self._goes_with_its_run(job)),
        ]

    def troubles(self):
        """What may go wrong now: a stage fails, and a node loses a pod, with or without a word."""
        running = [(job, pod) for job in self._server.jobs.values() for pod in self._server.active(job) if _runs(pod)]
        fresh = [(job, pod) for job, pod in running if deleting_since(pod) is None and not self._is_stopping(job)]
        return [
            *(partial(self.end_pod, job, pod, code) for job, pod in fresh for code in FAULTS),
            *(partial(step, job, pod) for job, pod in fresh for step in (self.drain, self.lose)),
        ]

    def _of_pod(self, job, pod):
        if self._is_stopping(job) and deleting_since(pod) is None:
            return [partial(self.take_down, pod)]
        if deleting_since(pod) is not None:
            return [partial(self.end_pod, job, pod, STOPPED)] if _runs(pod) else [partial(self._server.delete, "Pod", name(pod))]
        if not _runs(pod):
            return [partial(self.begin, pod)]
        return [partial(self.end_pod, job, pod)] if self._can_end(job) else []

    def _is_stopping(self, job):
        return job["spec"]["suspend"] or deleting_since(job) is not None or uid(job) in self._server.failing

    def _can_end(self, job):
        """The processes of a gang wait for each other."""
        pods = by_index(self._server.pods_of(job))
        return _in_parts(job) or (len(pods) == job["spec"]["completions"] and all(at(pod, "status")["phase"] != "Pending" for pod in pods))

    def _missing(self, job):
        """Parts of a Job that get a pod."""
        if self._is_stopping(job):
            return []
        there = {completion_index(pod) for pod in self._server.active(job)} | self._server.codes[uid(job)].keys()
        return [index for index in range(job["spec"]["completions"]) if index not in there]

    def _is_over(self, job):
        done = len(self._server.codes[uid(job)]) == job["spec"]["completions"]
        return uid(job) in self._server.failing or (done and deleting_since(job) is None)

    def _goes_with_its_run(self, job):
        """Whether its run is being deleted, and waits for it."""
        run = next((run for run in self._server.runs.values() if uid(run) == owner_uid(job)), None)
        return run is not None and deleting_since(run) is not None and deleting_since(job) is None

    def delete_with_its_run(self, job):
        job["metadata"]["deletionTimestamp"] = self._server.moment
        self._server.stamp(job)

    def add_pod(self, job, index):
        pod = self._server.add_pod(job, name=f"{name(job)}-{index}-{next(self._numbers)}", index=index)
        pod["spec"].update(job["spec"]["template"]["spec"].get("nodeSelector", {}))

    def begin(self, pod):
        pod["status"] = {"phase": "Running", "containerStatuses": [{"state": {"running": {"startedAt": self._server.moment}}}]}
        self._server.stamp(pod)

    def take_down(self, pod):
        pod["metadata"]["deletionTimestamp"] = self._server.moment
        self._server.stamp(pod)

    def end_pod(self, job, pod, code=0):
        """The Job controller counts it at once; the Job tells of it later."""
        index, message = completion_index(pod), ""
        if not code and index == 0:
            code, message = self.stages({"SER_STAGE": self._server.stage(job).model_dump_json(by_alias=True)})
        if code and not self._is_stopping(job):
            self._server.failed.add(name(job))
            self._fail(job, index, is_retried=code not in NEVER_RETRIED)
        elif not code:
            self._server.codes[uid(job)][index] = code
        self._ended(job, pod, code, message)

    def _fail(self, job, index, *, is_retried=False):
        """A part of a Job that has several is tried once more."""
        self._server.meddled.add(owner_uid(job))
        is_retried &= _in_parts(job) and (uid(job), index) not in self._retried
        if is_retried:
            self._retried.add((uid(job), index))
        else:
            self._server.failing.add(uid(job))

    def _end_orphan(self, pod):
        pod["status"] = {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": STOPPED}}}]}
        self._server.stamp(pod)

    def drain(self, job, pod):
        pod["metadata"]["deletionTimestamp"] = self._server.moment
        self._fail(job, completion_index(pod))
        why = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        self._ended(job, pod, STOPPED, "", conditions=[why])

    def lose(self, job, pod):
        """Nobody will ever know how it ended."""
        self._fail(job, completion_index(pod))
        self._server.unknown_ends.add(owner_uid(job))
        self._server.delete("Pod", name(pod))

    def _ended(self, job, pod, code, message, **status):
        begin = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        state = {"exitCode": code, "message": message, "startedAt": begin, "finishedAt": self._server.moment}
        pod["status"] = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [{"state": {"terminated": state}}], **status}
        self._server.legs[owner_uid(job)][uid(job)].append(leg_of(pod))
        self._server.told.add(name(job))
        self._server.stamp(pod)

    def end_job(self, job):
        kind = "Failed" if uid(job) in self._server.failing else "Complete"
        job["status"] = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": self._server.moment}]}
        self._server.stamp(job)

    def _garbage(self):
        """Kind and key of what has no owner, or is to go and holds nothing up."""
        server = self._server
        runs, jobs = {uid(run) for run in server.runs.values()}, {uid(job): job for job in server.jobs.values()}
        yield from (("SERRun", key) for key, run in server.runs.items() if deleting_since(run) and not server.jobs_of_run(run))
        for key, job in server.jobs.items():
            if owner_uid(job) not in runs or (deleting_since(job) and not server.pods_of(job)):
                yield "Job", key
        for key, pod in server.pods.items():
            owner, is_over = jobs.get(owner_uid(pod)), not _is_active(pod)
            if owner is None or (is_over and (deleting_since(owner) or deleting_since(pod))):
                yield "Pod", key


def _in_parts(job):
    """Whether the pods of a Job do not wait for each other, and each is tried once more."""
    return "backoffLimitPerIndex" in job["spec"]


def _is_active(pod):
    return at(pod, "status")["phase"] in ("Pending", "Running")


def _runs(pod):
    return at(pod, "status")["phase"] == "Running"
