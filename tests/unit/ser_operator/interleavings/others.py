"""What everybody but the operator does in a cluster: people, the Job controller, the kubelet, the garbage collector."""

from collections import Counter
from datetime import datetime
from functools import partial

from controlplane.faults.stage_double import StageDouble
from ser_operator.facts.reading import at, deleting_since, owner_uid, state_of, uid

from .late_cluster import LateCluster

NAMES = ("climb", "ridge")


class Others(LateCluster):
    """Every step is one change of one object.

    Attributes:
        meddled: Runs, by UID, of which not every Job came to its end by itself.
        ran: Seconds in which pods ran, by the UID of the run.
        jobs_of: Names of all Jobs that were ever created, by the UID of the run.
        doubles: Those that were created while another Job of their stage was at work.
    """

    def __init__(self):
        super().__init__()
        self.stages = StageDouble()
        self.meddled, self.ran, self.jobs_of, self.doubles = set(), Counter(), {}, []
        self._codes = {}
        """With what the pod of a Job ended, by UID."""

    def stamp(self, thing):
        if thing.get("kind") == "Job" and "uid" not in thing["metadata"]:
            self.jobs_of.setdefault(owner_uid(thing), []).append(thing["metadata"]["name"])
            if any(job is not thing and stage_of(job) == stage_of(thing) and self._is_at_work(job) for job in self.jobs.values()):
                self.doubles.append(thing["metadata"]["name"])
        return super().stamp(thing)

    def people(self):
        """What people may do now."""
        return [
            *(partial(self.apply, name) for name in NAMES if ("lab", name) not in self.runs),
            *(partial(step, key) for step in (self.delete_run, self.replace, self.suspend, self.label) for key in self.runs),
            *(partial(self.delete_by_hand, key) for key in self.jobs),
        ]

    def delete_run(self, key):
        self.delete("SERRun", key)

    def replace(self, key):
        self.delete("SERRun", key)
        self.apply(key[1])

    def suspend(self, key):
        """Or resume."""
        run = self.runs[key]
        self.meddled.add(uid(run))
        run["spec"] = {**run["spec"], "suspend": not run["spec"].get("suspend", False)}
        run["metadata"]["generation"] += 1
        self.stamp(run)

    def label(self, key):
        self.runs[key]["metadata"]["labels"] = {"seen": str(self.version)}
        self.stamp(self.runs[key])

    def delete_by_hand(self, key):
        job = self.jobs[key]
        self.meddled.add(owner_uid(job))
        job["metadata"]["deletionTimestamp"] = self._moment
        self.stamp(job)

    def controllers(self):
        """What controllers and the kubelet may do now."""
        jobs = {uid(job): job for job in self.jobs.values() if state_of(job) == "running"}
        running = [pod for pod in self.pods.values() if at(pod, "status")["phase"] == "Running" and owner_uid(pod) in jobs]
        busy = {owner_uid(pod) for pod in self.pods.values()} | self._codes.keys()
        return [
            *(partial(self.add_pod, job) for job in jobs.values() if uid(job) not in busy and deleting_since(job) is None),
            *(partial(self.begin, key) for key, pod in self.pods.items() if at(pod, "status")["phase"] == "Pending"),
            *(partial(self.end_pod, jobs[owner_uid(pod)], pod) for pod in running),
            *(partial(self.end_job, job) for job in jobs.values() if uid(job) in self._codes),
            *(partial(self.delete, *gone) for gone in self._garbage()),
        ]

    def nodes(self):
        """Pods that a node may lose now, because it is to be empty."""
        jobs = {uid(job): job for job in self.live_jobs()}
        running = [pod for pod in self.pods.values() if at(pod, "status")["phase"] == "Running"]
        return [partial(self.drain, jobs[owner_uid(pod)], pod) for pod in running if owner_uid(pod) in jobs]

    def begin(self, key):
        pod = self.pods[key]
        pod["status"] = {"phase": "Running", "containerStatuses": [{"state": {"running": {"startedAt": self._moment}}}]}
        self.stamp(pod)

    def end_pod(self, job, pod):
        """The Job controller does not know it yet."""
        if deleting_since(job) is not None:
            self._ended(job, pod, 143, "")
        else:
            self._ended(job, pod, *self.stages({"SER_STAGE": self.stage(job).model_dump_json(by_alias=True)}))

    def drain(self, job, pod):
        self.meddled.add(owner_uid(job))
        pod["metadata"]["deletionTimestamp"] = self._moment
        why = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        self._ended(job, pod, 143, "", conditions=[why])

    def _ended(self, job, pod, code, message, **status):
        self._codes[uid(job)] = code
        begin = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        self.ran[owner_uid(job)] += (self.now - datetime.fromisoformat(begin)).total_seconds()
        state = {"exitCode": code, "message": message, "startedAt": begin, "finishedAt": self._moment}
        pod["status"] = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [{"state": {"terminated": state}}], **status}
        self.stamp(pod)

    def end_job(self, job):
        kind = "Failed" if self._codes[uid(job)] else "Complete"
        job["status"] = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": self._moment}]}
        self.stamp(job)

    def _garbage(self):
        """Kind and key of what has no owner, or is to go and holds nothing up."""
        runs, jobs = {uid(run) for run in self.runs.values()}, {uid(job): job for job in self.jobs.values()}
        busy = {owner_uid(pod) for pod in self.pods.values()}
        for key, job in self.jobs.items():
            if owner_uid(job) not in runs or (deleting_since(job) and uid(job) not in busy):
                yield "Job", key
        for key, pod in self.pods.items():
            owner = jobs.get(owner_uid(pod))
            if owner is None or deleting_since(owner) or (deleting_since(pod) and uid(owner) in self._codes):
                yield "Pod", key

    def _is_at_work(self, job):
        """Whether a pod of a Job runs, or will."""
        pods = [pod for pod in self.pods.values() if owner_uid(pod) == uid(job)]
        ends = uid(job) in self._codes or (deleting_since(job) is not None and not pods)
        return state_of(job) == "running" and not ends

    @property
    def _moment(self):
        return f"{self.now:%Y-%m-%dT%H:%M:%SZ}"


def stage_of(job):
    """Whose it is, and which loop and stage."""
    labels = job["spec"]["template"]["metadata"]["labels"]
    return owner_uid(job), labels["ser.dev/iteration"], labels["ser.dev/stage"]
