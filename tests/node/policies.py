"""kube-network-policies: each first packet of a connection is held until it has read the NetworkPolicies."""

import subprocess
from pathlib import Path

from controlplane.plane.build import binary
from controlplane.plane.part import Part
from controlplane.plane.watchdog import Watchdog
from node import addresses

PROGRAM = "kube-network-policies"
_QUEUE = "102"
_ACCOUNT = Path("/run/secrets/kubernetes.io/serviceaccount")
"""It takes no kubeconfig: it looks where a pod has its token. The sandbox's /run is its own."""

_ESTABLISHED = ["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"]
_HELD = ["-j", "NFQUEUE", "--queue-num", _QUEUE]
_RULES = [
    ["POSTROUTING", *_ESTABLISHED],
    ["POSTROUTING", "-m", "owner", "--uid-owner", "0", "-j", "ACCEPT"],  # the node's own: probes of the kubelet
    ["POSTROUTING", *_HELD],
    ["INPUT", "-i", "veth+", *_ESTABLISHED],
    ["INPUT", "-i", "veth+", *_HELD],  # from a pod to the node itself, where the API server and the store are
]
"""In place of its own, which need nft's queue statement; not every kernel has that."""


def network_policies(node: str, token: str, certificate: Path, folder: Path, watchdog: Watchdog) -> Part:
    """The agent, not started; its rules are there already, and without it no connection comes about."""
    _ACCOUNT.mkdir(parents=True, exist_ok=True)
    (_ACCOUNT / "token").write_text(token)
    (_ACCOUNT / "ca.crt").write_bytes(certificate.read_bytes())
    for rule in _RULES:
        subprocess.run(["iptables", "--table", "mangle", "--append", *rule], check=True, capture_output=True)
    flags = [f"--hostname-override={node}", "--disable-nri", f"--nfqueue-id={_QUEUE}", "--metrics-bind-address=127.0.0.1:9080", "--v=2"]
    address = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(addresses.API_SERVER_PORT)}
    return Part(PROGRAM, [str(binary(PROGRAM)), *flags], folder, watchdog, address)
