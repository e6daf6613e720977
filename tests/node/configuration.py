"""The control plane of `controlplane.configuration`, with what a real node asks of it: an address, the Node authorizer, all controllers."""

import csv
from dataclasses import dataclass
from pathlib import Path

from controlplane.configuration import Configuration, Ports
from node import addresses
from node.certificates import Authority

PORTS = Ports(etcd=2379, etcd_peer=2380, apiserver=addresses.API_SERVER_PORT)
"""The usual ones: the network is private, and the chart's NetworkPolicies name 6443."""
PROXY = "kube-proxy"
_GROUPS = {PROXY: ("system:kube-proxy", "")}
GRACE = "20s"
"""Heartbeats that may be missed before a node counts as not ready; Kubernetes' default is 50 s."""


@dataclass(frozen=True)
class NodeConfiguration(Configuration):
    """Files and flags.

    Attributes:
        nodes: Names of the nodes that may join.
        gates: Feature gates of all parts, ``name=true``.
        apis: API versions that are served besides the usual.
    """

    nodes: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()

    @property
    def certificate(self) -> Path:
        return self.folder / "certificates" / "authority.crt"

    def write(self) -> None:
        super().write()
        authority = Authority(self.certificate.parent)
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost")
        authority.issue("server", "kube-apiserver", addresses=("127.0.0.1", addresses.NODE, addresses.API_SERVICE), names=names)
        authority.issue("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
        users = {**{name: (f"system:node:{name}", "system:nodes") for name in self.nodes}, **_GROUPS}
        with (self.folder / "tokens.csv").open("a", newline="") as file:
            csv.writer(file).writerows([node_token(user), name, user, *filter(None, [group])] for user, (name, group) in users.items())

    def apiserver_flags(self) -> list[str]:
        """A flag that stands twice counts as it stands last; lists are joined."""
        certificates = self.certificate.parent
        return [
            *super().apiserver_flags(),
            "--bind-address=0.0.0.0",
            f"--advertise-address={addresses.NODE}",
            "--endpoint-reconciler-type=lease",  # the Service `kubernetes` leads somewhere
            "--authorization-mode=Node",
            "--enable-admission-plugins=NodeRestriction",
            f"--tls-cert-file={certificates / 'server.crt'}",
            f"--tls-private-key-file={certificates / 'server.key'}",
            f"--kubelet-client-certificate={certificates / 'kubelet-client.crt'}",
            f"--kubelet-client-key={certificates / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://{addresses.NODE}:{self.ports.apiserver}",
            *([f"--runtime-config={','.join(f'{one}=true' for one in self.apis)}"] if self.apis else []),
            *self.gate_flags(),
        ]

    def controller_manager_flags(self) -> list[str]:
        return [*super().controller_manager_flags(), "--controllers=*", f"--node-monitor-grace-period={GRACE}", *self.gate_flags()]

    def scheduler_flags(self) -> list[str]:
        return [*super().scheduler_flags(), *self.gate_flags()]

    def gate_flags(self) -> list[str]:
        """Of any part."""
        return [f"--feature-gates={','.join(self.gates)}"] if self.gates else []


def node_token(user: str) -> str:
    """Static token of a kubelet, by its node's name, or of `PROXY`."""
    return f"{user}-token"
