"""A cluster for many scenarios: control plane, node, kubelet with stage doubles, and the CRD."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from controlplane.containers import Outcome, StartedPod
from controlplane.control_plane import ControlPlane
from controlplane.kubelet import ProcessKubelet
from controlplane.scenario import ROOT, Scenario
from controlplane.stage_double import StageDouble

NODE = "gpu-node"
STAGE_SECONDS = 0.1


class Home:
    """Where scenarios live.

    Args:
        plane: A running control plane with the CRD and a node.
        kubelet: Of that node. What its pods do is this home's matter.
    """

    def __init__(self, plane: ControlPlane, kubelet: ProcessKubelet) -> None:
        self.plane, self.kubelet, self.stages = plane, kubelet, StageDouble()
        self._numbers = itertools.count()
        kubelet.double = self._play

    def scenario(self, folder: Path, **settings: object) -> Scenario:
        """A scenario in a new namespace."""
        namespace = f"run-{next(self._numbers)}"
        self.plane.api().create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        return Scenario(self.plane, self.kubelet, namespace, folder, self.stages, **settings)

    def _play(self, pod: StartedPod) -> Outcome:
        exit_code, message = self.stages(pod.environment)
        return Outcome(exit_code, message, delay=STAGE_SECONDS)


@contextlib.contextmanager
def home(folder: Path) -> Iterator[Home]:
    """A cluster of its own, with everything below ``folder``."""
    (folder / "plane").mkdir(parents=True)
    with ControlPlane(folder / "plane") as plane:
        plane.add_node(NODE)
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds" / "serruns.ser.dev.yaml"))
        plane.kubectl("wait", "--for=condition=Established", "crd/serruns.ser.dev")
        with ProcessKubelet(plane, folder / "pods", NODE) as kubelet:
            yield Home(plane, kubelet)
