"""The node, the installed chart and the runs' inputs: once for a session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boards.scraping import RULES, Scraped, scraping
from controlplane.plane.prometheus import Prometheus
from node import images, inputs, release
from node.hub import hub
from node.machine.cluster import Cluster
from node.machine.configuration import Flags
from node.run import PATIENCE, Run

SANDBOX = "SER_NODE_SANDBOX"
SCRAPE = "1s"
"""Between two scrapes; the boards are told of twice that, since on a busy machine some take longer."""


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
def follow(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> release.Follow:
    """Runs the commands of a text as somebody who installs the chart."""
    return release.user(cluster, tmp_path_factory.mktemp("user"), PATIENCE)


@pytest.fixture(scope="session")
def readme(cluster: Cluster) -> release.Commands:
    """README's commands for this cluster."""
    return release.commands(cluster.store.credentials)


@pytest.fixture(scope="session")
def installed(cluster: Cluster, follow: release.Follow, readme: release.Commands) -> str:
    """What Helm said after the chart was installed."""
    release.make_namespace(cluster)
    return follow(readme.install)


@pytest.fixture(scope="session")
def start(cluster: Cluster, stored: None, installed: str, follow: release.Follow, readme: release.Commands) -> Callable[..., Run]:
    """Applies a SERRun with a name and changes to the usual spec."""
    follow(readme.secret)
    return lambda name, **changes: Run(cluster, name).apply(inputs.spec(name, **changes))


@pytest.fixture(scope="session")
def scraped(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """What a Prometheus on the node sees of the namespace from now on, with GPUs that a stand-in tells of."""
    folder = tmp_path_factory.mktemp("prometheus")
    with Prometheus(folder, RULES, SCRAPE) as prometheus, scraping(prometheus, cluster.plane.api(), release.LAB):
        yield Scraped(prometheus, release.LAB, inputs.README_RUN, scrape=2)


@pytest.fixture(scope="session")
def whole(cluster: Cluster, start: Callable[..., Run], follow: release.Follow, readme: release.Commands, scraped: Scraped) -> Run:
    """README's run, with all stages, under way beside the other stories."""
    follow(readme.apply, inputs.of_readme())
    return Run(cluster, inputs.README_RUN)


@pytest.fixture(scope="session", autouse=True)
def under_way(request: pytest.FixtureRequest) -> None:
    """Begins the longest story first, if it is asked for."""
    if any("whole" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("whole")
