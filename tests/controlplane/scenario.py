"""One namespace with an operator behind a fault proxy, SERRuns, and what must hold whatever happens to them (the oracles)."""

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from controlplane.cluster import ControlPlane
from controlplane.fault_proxy import FaultProxy
from controlplane.operator_process import OperatorProcess
from controlplane.stage_double import StageDouble

ROOT = Path(__file__).parents[2]
GROUP, VERSION, PLURAL = "ser.dev", "v1alpha1", "serruns"
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
        folder.mkdir(parents=True, exist_ok=True)
        self.plane.kubectl("apply", "--namespace", namespace, "-f", str(ROOT / "operator" / "rbac.yaml"))
        self.custom = client.CustomObjectsApi(plane.client())
        self.batch = client.BatchV1Api(plane.client())
        self.core = client.CoreV1Api(plane.client())
        self.proxy = FaultProxy(plane.server, plane.authority)
        self._settings = settings

    def __enter__(self) -> "Scenario":
        self.proxy.__enter__()
        token = self.plane.token(self.namespace, "ser-operator")
        self.operator = OperatorProcess(
            self.proxy.kubeconfig(self.folder, token, self.namespace), self.namespace, self.folder, **self._settings
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.operator.stop()
        self.proxy.__exit__()

    # What a user does

    def apply(self, name: str = "climb", **spec: Any) -> str:
        """Create a SERRun; returns its UID."""
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "SERRun", "metadata": {"name": name}, "spec": {**SPEC, **spec}}
        made = self.custom.create_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, body)
        return str(made["metadata"]["uid"])

    def patch(self, name: str = "climb", **spec: Any) -> None:
        """Change a spec."""
        self.custom.patch_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name, {"spec": spec})

    def delete(self, name: str = "climb", propagation: str = "Background") -> None:
        """Delete a SERRun."""
        self.custom.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name, propagation_policy=propagation)

    # What a test sees

    def run(self, name: str = "climb") -> dict[str, Any]:
        """A SERRun."""
        return dict(self.custom.get_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name))

    def status(self, name: str = "climb") -> dict[str, Any]:
        """The status of a SERRun; empty before the first."""
        return dict(self.run(name).get("status") or {})

    def jobs(self) -> list[Any]:
        """All Jobs of the namespace."""
        return list(self.batch.list_namespaced_job(self.namespace).items)

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
        mine = [job for job in self.jobs() if job.metadata.labels.get("ser.dev/run-uid") == uid]
        spans: dict[tuple[str, str], list[tuple[Any, Any]]] = {}
        for job in mine:
            key = (job.metadata.labels["ser.dev/iteration"], job.metadata.labels["ser.dev/stage"])
            spans.setdefault(key, []).append((job.metadata.creation_timestamp, job.status.completion_time))
        found = []
        for key, times in spans.items():
            times.sort(key=lambda span: span[0])
            for (_, end), (begin, _) in itertools.pairwise(times):
                if end is None or begin < end:
                    found.append(f"{key[1]} of iteration {key[0]}")
        return found
