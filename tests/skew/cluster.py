"""A control plane whose CRD and operator change from version to version."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from controlplane.faults.fault_proxy import FaultProxy
from controlplane.faults.home import Home
from controlplane.faults.scenario import Scenario
from controlplane.kubelet.kubelet import ProcessKubelet
from controlplane.plane.api_client import ApiError, Object
from controlplane.plane.control_plane import ControlPlane
from skew.trees import crd_of, python_path

NODE = "skew-node"
_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/serruns.ser.dev"


@contextlib.contextmanager
def skew_cluster(folder: Path, image: Path | None = None) -> Iterator[Home]:
    """A cluster without the CRD.

    Args:
        folder: For everything of it.
        image: The code that the stages run; None: `Home.stages` plays them.
    """
    (folder / "plane").mkdir(parents=True)
    code = {} if image is None else {"PYTHONPATH": python_path(image)}
    with ControlPlane(folder / "plane") as plane:
        plane.add_node(NODE)
        with ProcessKubelet(plane, folder / "pods", NODE, image_environment=code) as kubelet:
            home = Home(plane, kubelet)
            if image is not None:
                kubelet.double = None
            yield home


def apply_crd(plane: ControlPlane, tree: Path, seconds: float = 60) -> None:
    """Apply the CRD of a version, and wait until the API server acts on it."""
    wanted = json.loads(crd_of(tree))
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(wanted))
    deadline = time.monotonic() + seconds
    while not _serves(plane, wanted):
        assert time.monotonic() < deadline, "the API server does not take the CRD over"
        time.sleep(0.1)


def _serves(plane: ControlPlane, crd: Object) -> bool:
    """Whether the OpenAPI document, which is made of what is served, has the fields of ``crd``."""
    with contextlib.suppress(ApiError, LookupError):
        served = plane.api().get("/openapi/v3/apis/ser.dev/v1alpha1")["components"]["schemas"]["dev.ser.v1alpha1.SERRun"]
        return all(
            _fields(served, part) == _fields(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], part) for part in ("spec", "status")
        )
    return False


def _fields(schema: Object, part: str) -> set[str]:
    return set(schema["properties"][part]["properties"])


@contextlib.contextmanager
def operated(scenario: Scenario, tree: Path) -> Iterator[FaultProxy]:
    """The operator of a version works on a scenario's run, and no other."""
    with scenario.another_operator(code=tree) as (proxy, operator):
        operator.start()
        yield proxy


def at(stage: str) -> Callable[[Object], bool]:
    """Whether a status says that a run is in a stage."""
    return lambda status: status.get("stage") == stage
