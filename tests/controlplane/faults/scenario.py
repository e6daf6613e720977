"""One run in a namespace of its own, its operator behind a fault proxy, and what must hold whatever happens (the oracles)."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from controlplane.faults.fault_proxy import FaultProxy
from controlplane.faults.stage_double import StageDouble
from controlplane.faults.truth_table import check_conditions
from controlplane.kubelet.gate import Gate
from controlplane.kubelet.kubelet import ProcessKubelet
from controlplane.plane.api_client import ApiError, Object
from controlplane.plane.control_plane import ControlPlane
from controlplane.plane.operator_process import OperatorProcess
from ser_core.api.serrun import API_VERSION

ROOT = Path(__file__).parents[3]
SPEC: Mapping[str, Any] = {
    "rewardModel": {"base": "hf://org/model"},
    "data": {"source": {"uri": "hf://org/data"}},
    "storage": {"uri": "s3://bucket/runs"},
    "loop": {"maxIterations": 1},
}
ENDED = ("Completed", "Failed")


class Scenario:
    """Use as a context manager: leaving it kills the operator.

    Args:
        plane: A running control plane with the CRD.
        kubelet: Runs the pods.
        namespace: An empty namespace; also the name of the run, so that labels tell its pods from all others.
        folder: For logs.
        stages: What the pods do, and what they did.
        settings: Settings of the operator.
    """

    def __init__(
        self, plane: ControlPlane, kubelet: ProcessKubelet, namespace: str, folder: Path, stages: StageDouble, **settings: object
    ) -> None:
        self.plane, self.kubelet, self.namespace, self.folder, self.stages = plane, kubelet, namespace, folder, stages
        self.api = plane.api()
        self._settings = settings
        folder.mkdir(parents=True, exist_ok=True)
        plane.kubectl("apply", "--namespace", namespace, "-f", str(ROOT / "operator" / "rbac.yaml"))

    def __enter__(self) -> "Scenario":
        self._stack = contextlib.ExitStack()
        self.proxy, self.operator = self._stack.enter_context(self.another_operator())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def another_operator(self, **settings: object) -> Iterator[tuple[FaultProxy, OperatorProcess]]:
        """A proxy and an operator that is not started."""
        with FaultProxy(self.plane.server, self.plane.certificate) as proxy:
            kubeconfig = proxy.kubeconfig(self.folder, self.plane.token(f"{self.namespace}/ser-operator"), self.namespace)
            operator = OperatorProcess(kubeconfig, self.namespace, self.folder, **{**self._settings, **settings})
            try:
                yield proxy, operator
            finally:
                operator.kill()

    # What people and other controllers do

    def apply(self, **spec: Any) -> str:
        """Create the run; returns its UID."""
        body = {"apiVersion": API_VERSION, "kind": "SERRun", "metadata": {"name": self.namespace}, "spec": {**SPEC, **spec}}
        return str(self.api.create(self.collection("serruns", f"apis/{API_VERSION}"), body)["metadata"]["uid"])

    def patch(self, change: Object) -> None:
        """Change the run."""
        self.api.patch(self.path, change)

    def delete(self, propagation: str = "Background") -> None:
        """Delete the run."""
        self.api.delete(self.path, {"propagationPolicy": propagation})

    def delete_job(self, name: str, propagation: str = "Background") -> None:
        """Delete a Job by hand."""
        self.api.delete(f"{self.collection('jobs', 'apis/batch/v1')}/{name}", {"propagationPolicy": propagation})

    def delete_pod(self, job: str) -> None:
        """Delete the pod of a Job by hand."""
        for pod in self.pods(job):
            self.api.delete(f"{self.collection('pods')}/{pod['metadata']['name']}")

    def hold(self, stage: str) -> Gate:
        """Let no pod of a stage begin before the gate is released."""
        return self.kubelet.hold({"ser.dev/run": self.namespace, "ser.dev/stage": stage})

    # What a test sees

    def collection(self, plural: str, api: str = "api/v1") -> str:
        """Path of a collection in the namespace."""
        return f"/{api}/namespaces/{self.namespace}/{plural}"

    @property
    def path(self) -> str:
        """Path of the run."""
        return f"{self.collection('serruns', f'apis/{API_VERSION}')}/{self.namespace}"

    def run(self) -> Object:
        """The run."""
        return self.api.get(self.path)

    def status(self) -> Object:
        """The status of the run; empty before the first. Its conditions are checked by the truth table."""
        status: Object = self.run().get("status") or {}
        if status:
            check_conditions(status)
        return status

    def jobs(self) -> list[Object]:
        """All Jobs of the namespace."""
        return self.api.items(self.collection("jobs", "apis/batch/v1"))

    def job(self, name: str) -> Object | None:
        """One Job; None when it is gone."""
        return self.api.find(f"{self.collection('jobs', 'apis/batch/v1')}/{name}")

    def pods(self, job: str) -> list[Object]:
        """The pods of a Job."""
        return self.api.items(self.collection("pods"), labelSelector=f"job-name={job}")

    def events(self) -> list[Object]:
        """Events of the run."""
        return [event for event in self.api.items(self.collection("events")) if event["involvedObject"]["kind"] == "SERRun"]

    def wait(self, until: Callable[[Object], object], seconds: float = 180, tend: Callable[[], object] | None = None) -> Object:
        """Wait until ``until(status)`` holds; ``tend`` is called between two looks, for example to restart a dead operator."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(ApiError):
                status = self.status()
                if until(status):
                    return status
            if time.monotonic() > deadline:
                log = self.operator.log.read_text()[-3000:] if self.operator.log.exists() else ""
                raise AssertionError(f"not within {seconds} s: {yaml.safe_dump(status)}\n{log}")
            if tend is not None:
                tend()
            time.sleep(0.2)

    def wait_for_end(self, seconds: float = 300, tend: Callable[[], object] | None = None) -> Object:
        """Wait until the run is Completed or Failed."""
        return self.wait(lambda status: status.get("phase") in ENDED, seconds, tend)

    # What must hold

    def check(self, *, charged: range = range(1), alone: bool = True) -> None:
        """The oracles of a completed run: each stage was computed once, by one Job at a time, and the status says what happened."""
        run = self.run()
        status, uid, loops = self.status(), run["metadata"]["uid"], run["spec"]["loop"]["maxIterations"]
        assert status["phase"] == "Completed", yaml.safe_dump(status)
        executed = {key: number for key, number in self.stages.executed.items() if key[0] == uid}
        assert len(executed) == 2 + 3 * loops, executed
        assert set(executed.values()) == {1}, f"a committed stage was computed again: {executed}"
        assert [row["iteration"] for row in status["iterations"]] == list(range(loops + 1))
        assert status["bestIteration"] == loops
        assert sum(bool(row.get("charged")) for row in status["stages"]) in charged, yaml.safe_dump(status["stages"])
        assert len(yaml.safe_dump(status)) < 32 * 1024
        assert not alone or self.duplicates(uid) == []
        assert self.operator.defects() == []

    def duplicates(self, uid: str) -> list[str]:
        """Stages of a run for which two Jobs lived at the same time."""
        spans: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for job in self.jobs():
            labels = job["spec"]["template"]["metadata"]["labels"]
            if labels.get("ser.dev/run-uid") == uid:
                ends = [one["lastTransitionTime"] for one in job["status"].get("conditions", ()) if one["type"] in ("Complete", "Failed")]
                span = (job["metadata"]["creationTimestamp"], ends[0] if ends else "9999")
                spans.setdefault((labels["ser.dev/iteration"], labels["ser.dev/stage"]), []).append(span)
        return [
            f"{stage} of iteration {iteration}"
            for (iteration, stage), times in spans.items()
            for (_, end), (begin, _) in itertools.pairwise(sorted(times))
            if begin < end
        ]
