"""The control plane of `plane.configuration`, with what a real node asks of it: an address, the Node authorizer, all controllers."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.plane.certificates import Authority
from controlplane.plane.configuration import Configuration, Ports
from node.machine import addresses

Flags = Mapping[str, tuple[str, ...]]

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
        flags: More flags, by part of the control plane.
    """

    nodes: tuple[str, ...] = ()
    flags: Flags = field(default_factory=dict)

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
            *self.flags.get("apiserver", ()),
        ]

    def controller_manager_flags(self) -> list[str]:
        more = self.flags.get("controller-manager", ())
        return [*super().controller_manager_flags(), "--controllers=*", f"--node-monitor-grace-period={GRACE}", *more]

    def scheduler_flags(self) -> list[str]:
        return [*super().scheduler_flags(), *self.flags.get("scheduler", ())]


def node_token(user: str) -> str:
    """Static token of a kubelet, by its node's name, or of `PROXY`."""
    return f"{user}-token"
