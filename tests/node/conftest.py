"""The node, the installed chart and the runs' inputs: once for a session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node import images, inputs, release
from node.cluster import Cluster
from node.configuration import Flags
from node.hub import hub
from node.run import PATIENCE, Run

SANDBOX = "SER_NODE_SANDBOX"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    elsewhere = pytest.mark.skip(reason="a node has a network, mounts and processes of its own: make node")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(2 * PATIENCE))
            if SANDBOX not in os.environ:
                item.add_marker(elsewhere)


@pytest.fixture(scope="session")
def flags() -> Flags:
    """More flags of the control plane; a folder may have its own."""
    return {}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, flags: Flags) -> Iterator[Cluster]:
    """A node that has the images."""
    with Cluster(tmp_path_factory.mktemp("cluster"), flags) as running:
        for archive in images.given():
            running.kubelet.runtime.add(archive)
        yield running


@pytest.fixture(scope="session")
def stored(cluster: Cluster, tiny_model: Path, qwen: Path, pairs_file: Path) -> Iterator[None]:
    """The inputs, in the store and on the hub."""
    inputs.upload(cluster, tiny_model, qwen, pairs_file)
    with hub(tiny_model):
        yield


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> str:
    """What Helm said after the chart was installed."""
    release.make_namespaces(cluster)
    return release.install(cluster)


@pytest.fixture(scope="session")
def start(cluster: Cluster, stored: None, installed: str) -> Callable[..., Run]:
    """Applies a SERRun with a name and changes to the usual spec."""
    literals = [f"--from-literal={key}={value}" for key, value in cluster.store.credentials.items()]
    cluster.plane.kubectl("create", "secret", "generic", inputs.SECRET, "--namespace", release.LAB, *literals)
    return lambda name, **changes: Run(cluster, name).apply(inputs.spec(name, **changes))


@pytest.fixture(scope="session")
def whole(start: Callable[..., Run]) -> Run:
    """A run with all stages, under way beside the other stories."""
    return start("whole", policy=inputs.POLICY)


@pytest.fixture(scope="session", autouse=True)
def under_way(request: pytest.FixtureRequest) -> None:
    """Begins the longest story first, if it is asked for."""
    if any("whole" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("whole")
