"""A queue in the manner of Kueue: it admits suspended Jobs, changes where they run, and takes one back in the middle."""

import contextlib
import threading
from collections.abc import Iterator

from controlplane.faults.plans.plan import Fault, Plan, eventually, run_to_end
from controlplane.faults.scenario import Scenario
from controlplane.kubelet.gate import Gate
from controlplane.plane.api_client import ApiError, Object

QUEUE = "kueue.x-k8s.io/queue-name"
NAME = "lab"
PODSET = "kueue.x-k8s.io/podset"
PAUSE_SECONDS = 0.3


class Queue:
    """Admits the Jobs of a namespace from entering its context to leaving it."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._stop = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="queue", daemon=True)
        self.admitted: list[str] = []

    def __enter__(self) -> "Queue":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def evict(self, job: str) -> None:
        """Take a Job back, and admit nothing until `open`."""
        self._closed.set()
        self._patch(job, {"spec": {"suspend": True}})

    def open(self) -> None:
        """End `evict`."""
        self._closed.clear()

    def _work(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            with contextlib.suppress(ApiError):  # a Job that has just changed or gone
                for job in self._scenario.api.items(self._path, labelSelector=f"{QUEUE}={NAME}"):
                    if job["spec"].get("suspend") and not self._closed.is_set() and "deletionTimestamp" not in job["metadata"]:
                        self._admit(job)

    def _admit(self, job: Object) -> None:
        name = job["metadata"]["name"]
        placed = {"spec": {"nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}}
        if name not in self.admitted:  # the template may be changed before the first start only
            self._patch(name, {"spec": {"template": {"metadata": {"labels": {PODSET: "main"}}, **placed}}})
        self._patch(name, {"spec": {"suspend": False}})
        self.admitted.append(name)

    def _patch(self, job: str, change: Object) -> None:
        self._scenario.api.patch(f"{self._path}/{job}", change)

    @property
    def _path(self) -> str:
        return self._scenario.collection("jobs", "apis/batch/v1")


def queued(stage: str) -> Fault:
    """The Jobs of a run pass through the queue, which evicts one while it runs and admits it again: one Job a stage, nothing charged."""

    def fault(scenario: Scenario) -> None:
        gate = scenario.hold(stage)
        with Queue(scenario) as queue:
            scenario.operator.start()
            scenario.apply(queueName=NAME)
            job = gate.wait_for_pod(60).labels["job-name"]
            queue.evict(job)
            eventually(lambda: not _running(scenario, job), 30, "the evicted pod ends")
            waiting = scenario.wait(lambda status: "queue" in status.get("message", ""), 30)
            assert waiting["phase"] == "Running"
            _readmit(queue, gate)
            run_to_end(scenario, apply=False)
        assert len(scenario.jobs()) == 5
        assert queue.admitted.count(job) == 2
        assert all(pod["spec"]["nodeSelector"] for pod in scenario.pods(job))

    return fault


def _readmit(queue: Queue, gate: Gate) -> None:
    queue.open()
    gate.wait_for_pod(60, count=2)
    gate.release()


def _running(scenario: Scenario, job: str) -> bool:
    return any(pod["status"]["phase"] in ("Pending", "Running") for pod in scenario.pods(job))


def plans() -> Iterator[Plan]:
    """Evicted at each of three stages."""
    for stage in ("prepare", "retrain", "filter"):
        yield Plan("queue", f"evicted during {stage}", queued(stage))
