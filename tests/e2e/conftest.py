"""One real cluster for the whole session, and a namespace of its own for each test."""

import time
from collections.abc import Iterator

import pytest
from lanes import cannot_run

from controlplane.cluster import ControlPlane, ProcessKubelet, S3Server
from controlplane.faults.home import Home, install_crd
from controlplane.kueue.process import Kueue, why_not

NODE = "gpu-node"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests with Kueue come last: their cluster stays until the session ends, and costs processor time as long as it is there."""
    items.sort(key=lambda item: "queued_place" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, API server, controllers and scheduler, with one node of 8 GPUs."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as running:
        running.add_node(NODE, cpu="64", memory="256Gi", gpus=8)
        yield running


@pytest.fixture(scope="session")
def kubelet(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessKubelet]:
    """Runs the pods of that node as processes; stages share the imports of one process where a test does not say otherwise."""
    with ProcessKubelet(control_plane, tmp_path_factory.mktemp("kubelet"), NODE, warm=True) as running:
        yield running


@pytest.fixture(scope="session")
def crd(control_plane: ControlPlane) -> None:
    """SERRuns exist."""
    install_crd(control_plane)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server without buckets."""
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace, whose ServiceAccount exists already; deleted afterwards, without waiting."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "test-"}}
    name = control_plane.api().create("/api/v1/namespaces", body)["metadata"]["name"]
    deadline = time.monotonic() + 180
    while control_plane.api().find(f"/api/v1/namespaces/{name}/serviceaccounts/default") is None:
        assert time.monotonic() < deadline, "the controllers do not make ServiceAccounts"
        time.sleep(0.02)
    yield name
    control_plane.api().delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="module")
def place(control_plane: ControlPlane, kubelet: ProcessKubelet, crd: None) -> Iterator[Home]:
    """Where scenarios live; stage doubles play their pods."""
    yield Home(control_plane, kubelet)
    kubelet.double = None


@pytest.fixture(scope="session")
def queued_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A cluster of its own with Kueue, since Kueue has a say in every Job of a cluster; stage doubles play the pods."""
    folder = tmp_path_factory.mktemp("kueue")
    if reason := why_not(folder):
        cannot_run(reason)
    (folder / "control-plane").mkdir()
    with ControlPlane(folder / "control-plane") as plane:
        plane.add_node(NODE)
        install_crd(plane)
        with Kueue(plane, folder / "process"), ProcessKubelet(plane, folder / "kubelet", NODE) as kubelet:
            yield Home(plane, kubelet)
