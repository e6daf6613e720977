"""The chart as README.md installs it, with the built images; what is added to README's words stands here, with its reason."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chart.installing import chart_user
from documents import replaced, shown

from node import images
from node.machine import addresses
from node.machine.cluster import Cluster

NAME, LAB = "ser-operator", "lab"
"""Of the release, and of the namespace that it shares with its runs."""
OPERATOR = f"app.kubernetes.io/name={NAME}"
"""Selects the operator's pod."""
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
_UPGRADE = shown("docs/install.md", "Upgrade").text.strip()
Follow = Callable[..., str]


def user(cluster: Cluster, folder: Path, patience: float) -> Follow:
    """Somebody who follows README on this cluster, in a folder with the values that somebody with this cluster would set."""
    (folder / "values.yaml").write_text(json.dumps(_VALUES))
    return chart_user(cluster.plane, folder, patience)


_VALUES: dict[str, Any] = {
    # the node has two processors, and a look at each step of a stage should not last a minute
    "settings": {"defaultThreads": 1, "progressSeconds": 5, "graceSeconds": 60},
    # models and data lie in the bucket
    "allow": {
        "read": ["hf://*", "s3://bucket/*"],
        "endpoints": [f"http://store.default.svc:{addresses.STORE_PORT}", f"http://{addresses.HUB}:{addresses.HUB_PORT}"],
    },
    "networkPolicy": {
        "store": {"to": [{"ipBlock": {"cidr": f"{addresses.STORE}/32"}}], "ports": [addresses.STORE_PORT]},
        "hub": {"to": [{"ipBlock": {"cidr": f"{addresses.HUB}/32"}}], "ports": [addresses.HUB_PORT]},
        "dns": {"to": [{"ipBlock": {"cidr": f"{addresses.DNS}/32"}}]},  # beside the cluster here, as NodeLocal DNSCache is
    },
}


@dataclass(frozen=True)
class Commands:
    """README's commands on a cluster: install the chart, make the Secret, apply the SERRun, watch it."""

    install: str
    secret: str
    apply: str
    watch: str


def commands(credentials: dict[str, str]) -> Commands:
    """Words of README for this cluster.

    Args:
        credentials: Variables of the store's keys.
    """
    keys = {f"{name}=…": f"{name}={value}" for name, value in credentials.items()}
    ours = {"REGISTRY": images.REGISTRY, "charts/ser-operator": "charts/ser-operator --values values.yaml"}
    return Commands(*replaced(shown("README.md", "On a cluster").text, {**keys, **ours}).splitlines())


def printed(notes: str) -> str:
    """The commands by which `helm install` says that one sees whether it is ready."""
    return "\n".join(re.findall(r"^ +((?:kubectl rollout|helm test) .*)$", notes, re.MULTILINE))


def make_namespace(cluster: Cluster) -> None:
    """Of level *restricted*; README's `--create-namespace` finds it there."""
    cluster.plane.kubectl("create", "namespace", LAB)
    cluster.plane.kubectl("label", "namespace", LAB, RESTRICTED)


def upgrade(follow: Follow, stages: str) -> None:
    """`helm upgrade` as documented, to the stage image of a registry."""
    follow(f"{_UPGRADE} --set stages.image.repository={stages}/ser-jobs")
