"""The chart as README.md installs it, with the built images; every value that differs from the defaults stands here, with its reason."""

import json
import os
import subprocess
from typing import Any

from controlplane.faults.scenario import ROOT
from controlplane.plane.build import binary
from node import addresses, images
from node.cluster import Cluster

CHART = ROOT / "charts" / "ser-operator"
NAME, SYSTEM, LAB = "ser-operator", "ser-system", "lab"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


def values() -> dict[str, Any]:
    """What somebody with this cluster would set."""
    operator, stages = (dict(zip(("repository", "tag"), name.rsplit(":", 1), strict=True)) for name in (images.OPERATOR, images.STAGES))
    return {
        "image": operator,
        "stages": {"image": stages},
        "watchNamespaces": [LAB],
        # the node has two processors, and a look at each step of a stage should not last a minute
        "settings": {"defaultThreads": 1, "progressSeconds": 5, "graceSeconds": 60},
        "networkPolicy": {
            "store": _peer(addresses.STORE, addresses.STORE_PORT),
            "hub": _peer(addresses.HUB, addresses.HUB_PORT),
            "dns": {"to": [{"ipBlock": {"cidr": f"{addresses.DNS}/32"}}]},  # beside the cluster here, as NodeLocal DNSCache is
        },
    }


def _peer(address: str, port: int) -> dict[str, Any]:
    return {"to": [{"ipBlock": {"cidr": f"{address}/32"}}], "ports": [port]}


def make_namespaces(cluster: Cluster) -> None:
    """The operator's and the runs', both of level *restricted*, and the Secret with the store's keys."""
    for namespace in (SYSTEM, LAB):
        cluster.plane.kubectl("create", "namespace", namespace)
        cluster.plane.kubectl("label", "namespace", namespace, RESTRICTED)


def helm(cluster: Cluster, *words: str, changes: dict[str, Any] | None = None) -> str:
    """Run Helm on the release, with `values` and ``changes`` to them; returns what it says."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cluster.plane.folder), "KUBECONFIG": str(cluster.plane.kubeconfig())}
    given = json.dumps({**values(), **(changes or {})})
    command = [str(binary("helm")), *words, "--namespace", SYSTEM]
    ended = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, timeout=900)
    if ended.returncode:
        seen = cluster.plane.kubectl("get", "pods,events", "-A").stdout
        log = cluster.plane.kubectl("logs", "-n", SYSTEM, f"deploy/{NAME}", "--tail=40", check=False).stdout
        raise AssertionError(f"{ended.stdout}{ended.stderr}\n{seen}\n{log}")
    return ended.stdout


def install(cluster: Cluster) -> str:
    """`helm install --wait`."""
    return helm(cluster, "install", NAME, str(CHART), "--wait", "--timeout", "10m", "--values", "-")


def upgrade(cluster: Cluster, **changes: Any) -> str:
    """`helm upgrade --wait` to other values."""
    return helm(cluster, "upgrade", NAME, str(CHART), "--wait", "--timeout", "10m", "--values", "-", changes=changes)
