"""A cluster for many scenarios: control plane, node, kubelet with stage doubles, and the CRD."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from controlplane.faults.scenario import ROOT, Scenario
from controlplane.faults.stage_double import StageDouble
from controlplane.kubelet.containers import Outcome, StartedPod
from controlplane.kubelet.kubelet import ProcessKubelet
from controlplane.plane.api_client import ApiError
from controlplane.plane.control_plane import ControlPlane
from ser_core.api.serrun import API_VERSION

NODE = "gpu-node"
_numbers = itertools.count()  # no two homes over the same control plane share a namespace


class Home:
    """Where scenarios live.

    Args:
        plane: A running control plane with the CRD and a node.
        kubelet: Of that node. What its pods do is this home's matter.

    Attributes:
        instead: What the pods of a stage do instead of their work, by namespace and stage. What returns None does their work after all.
        stage_seconds: How long a stage takes.
    """

    def __init__(self, plane: ControlPlane, kubelet: ProcessKubelet) -> None:
        self.plane, self.kubelet, self.stages = plane, kubelet, StageDouble()
        self.instead: dict[tuple[str, str], Callable[[StartedPod], Outcome | None]] = {}
        self.stage_seconds = 0.1
        kubelet.double = self._play

    def scenario(self, folder: Path, **settings: object) -> Scenario:
        """A scenario in a new namespace."""
        namespace = f"run-{next(_numbers)}"
        self.plane.api().create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        return Scenario(self.plane, self.kubelet, namespace, folder, self.stages, **settings)

    def _play(self, pod: StartedPod) -> Outcome:
        act = self.instead.get((pod.namespace, pod.labels["ser.dev/stage"]))
        outcome = act(pod) if act is not None else None
        if outcome is not None:
            return outcome
        exit_code, message = self.stages(pod.environment)
        return Outcome(exit_code, message, delay=self.stage_seconds)


def install_crd(plane: ControlPlane, seconds: float = 60) -> None:
    """Apply the CRDs and wait until SERRuns and SERRunTemplates are served."""
    for plural in ("serruns", "serruntemplates"):
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds" / f"{plural}.ser.dev.yaml"))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ApiError):  # 404, then 429 while the storage begins
            for plural in ("serruns", "serruntemplates"):
                plane.api().get(f"/apis/{API_VERSION}/{plural}")
            return
        time.sleep(0.05)
    raise TimeoutError("SERRuns are not served")


@contextlib.contextmanager
def home(folder: Path) -> Iterator[Home]:
    """A cluster of its own, with everything below ``folder``."""
    (folder / "plane").mkdir(parents=True)
    with ControlPlane(folder / "plane") as plane:
        plane.add_node(NODE)
        install_crd(plane)
        with ProcessKubelet(plane, folder / "pods", NODE) as kubelet:
            yield Home(plane, kubelet)
