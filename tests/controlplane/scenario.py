"""One namespace with an operator behind a fault proxy, SERRuns, and what must hold whatever happens to them (the oracles)."""

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from controlplane.api_client import Object
from controlplane.control_plane import ControlPlane
from controlplane.fault_proxy import FaultProxy
from controlplane.operator_process import OperatorProcess
from controlplane.stage_double import StageDouble
from ser_core.api.serrun import API_VERSION

ROOT = Path(__file__).parents[2]
STAGES_OF_A_LOOP = 3
"""label, filter, retrain; before the first loop come prepare and the seed's retrain."""
SPEC: Mapping[str, Any] = {
    "rewardModel": {"base": "hf://org/model"},
    "data": {"source": {"uri": "hf://org/data"}},
    "storage": {"uri": "s3://bucket/runs"},
    "loop": {"maxIterations": 1},
}
ENDED = ("Completed", "Failed")


class Scenario:
    """Use as a context manager: leaving it stops the operator and the proxy.

    Args:
        plane: A running control plane with the CRD.
        namespace: An empty namespace.
        folder: For logs.
        stages: What the pods do.
        settings: Settings of the operator.
    """

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path, stages: StageDouble, **settings: object) -> None:
        self.plane, self.namespace, self.folder, self.stages = plane, namespace, folder, stages
        self.api = plane.api()
        folder.mkdir(parents=True, exist_ok=True)
        plane.kubectl("apply", "--namespace", namespace, "-f", str(ROOT / "operator" / "rbac.yaml"))
        self.proxy = FaultProxy(plane.server, plane.certificate)
        self._settings = settings

    def __enter__(self) -> "Scenario":
        self.proxy.__enter__()
        token = self.plane.token(f"{self.namespace}/ser-operator")
        self.operator = OperatorProcess(
            self.proxy.kubeconfig(self.folder, token, self.namespace), self.namespace, self.folder, **self._settings
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.operator.kill()
        self.proxy.__exit__()

    # What a user does

    def apply(self, name: str = "climb", **spec: Any) -> str:
        """Create a SERRun; returns its UID."""
        body = {"apiVersion": API_VERSION, "kind": "SERRun", "metadata": {"name": name}, "spec": {**SPEC, **spec}}
        return str(self.api.create(self._runs, body)["metadata"]["uid"])

    def patch(self, name: str = "climb", **spec: Any) -> None:
        """Change a spec."""
        self.api.patch(f"{self._runs}/{name}", {"spec": spec})

    def delete(self, name: str = "climb", propagation: str = "Background") -> None:
        """Delete a SERRun."""
        self.api.delete(f"{self._runs}/{name}", {"propagationPolicy": propagation})

    # What a test sees

    def run(self, name: str = "climb") -> Object:
        """A SERRun."""
        return self.api.get(f"{self._runs}/{name}")

    def status(self, name: str = "climb") -> dict[str, Any]:
        """The status of a SERRun; empty before the first."""
        return dict(self.run(name).get("status") or {})

    def jobs(self) -> list[Object]:
        """All Jobs of the namespace."""
        return self.api.items(f"/apis/batch/v1/namespaces/{self.namespace}/jobs")

    @property
    def _runs(self) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/serruns"

    def wait(
        self, until: Callable[[dict[str, Any]], bool], seconds: float = 60, name: str = "climb", tend: Callable[[], object] | None = None
    ) -> dict[str, Any]:
        """Wait until ``until(status)`` holds; ``tend`` is called between two looks, for example to restart a dead operator."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status(name)
            if until(status):
                return status
            if time.monotonic() > deadline:
                log = self.operator.log.read_text()[-3000:] if self.operator.log.exists() else ""
                raise AssertionError(f"not within {seconds} s: {yaml.safe_dump(status)}\n{log}")
            if tend is not None:
                tend()
            time.sleep(0.1)

    def wait_for_end(self, seconds: float = 90, name: str = "climb", tend: Callable[[], object] | None = None) -> dict[str, Any]:
        """Wait until a run is Completed or Failed."""
        return self.wait(lambda status: status.get("phase") in ENDED, seconds, name, tend)

    # What must hold

    def check(self, name: str = "climb", loops: int = 1) -> None:
        """The oracles of a completed run in which no stage failed: each stage was computed once, by one Job, and the status says so."""
        status = self.status(name)
        assert status["phase"] == "Completed", status
        uid = self.run(name)["metadata"]["uid"]
        stages = 2 + loops * STAGES_OF_A_LOOP
        executed = {key: number for key, number in self.stages.executed.items() if key[0] == uid}
        assert len(executed) == stages, executed
        assert set(executed.values()) == {1}, f"a committed stage ran again: {executed}"
        assert [row["iteration"] for row in status["iterations"]] == list(range(loops + 1))
        assert status["bestIteration"] == loops
        assert not [row for row in status["stages"] if row.get("charged")], status["stages"]

    def duplicates(self, uid: str) -> list[str]:
        """Stages of a run for which two Jobs computed at the same time."""
        spans: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for job in self.jobs():
            labels = job["metadata"]["labels"]
            if labels.get("ser.dev/run-uid") == uid:
                key = (labels["ser.dev/iteration"], labels["ser.dev/stage"])
                end = job["status"].get("completionTime", "9999")
                spans.setdefault(key, []).append((job["metadata"]["creationTimestamp"], end))
        return [
            f"{stage} of iteration {iteration}"
            for (iteration, stage), times in spans.items()
            for (_, end), (begin, _) in itertools.pairwise(sorted(times))
            if begin < end
        ]
