"""A cluster of one real node, with DNS, enforced NetworkPolicies, an S3 server and whatever images it is given."""

import contextlib
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from controlplane.plane.control_plane import ControlPlane
from controlplane.plane.s3_server import S3Server
from controlplane.plane.watchdog import Watchdog
from node import addresses
from node.configuration import PORTS, Flags, NodeConfiguration
from node.dns import Dns
from node.kubelet import Kubelet
from node.policies import network_policies
from node.proxy import kube_proxy

NODE, SECOND = "ser-node", "ser-node-2"


class Cluster:
    """Runs from entering the context to leaving it. Only inside `sandbox.sh`.

    Args:
        folder: For everything that is written, logs foremost.
        flags: More flags, by part of the control plane.

    Attributes:
        plane: etcd, API server, controllers, scheduler, and kubectl.
        kubelet: Of the node.
        store: The S3 server.
    """

    def __init__(self, folder: Path, flags: Flags = MappingProxyType({})) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._configuration = NodeConfiguration(folder, PORTS, nodes=(NODE, SECOND), flags=flags)
        self._stack = contextlib.ExitStack()
        self._watchdog = Watchdog()
        self.plane = ControlPlane(folder, self._configuration)
        self.store = S3Server(folder / "s3", addresses.STORE, addresses.STORE_PORT)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._stack = stack
            stack.callback(self._watchdog.close)
            stack.enter_context(self.plane)
            stack.enter_context(self.store)
            stack.enter_context(Dns(self.plane.api(), self.plane.folder, self._watchdog))
            self.kubelet = self.add_node(NODE, addresses.NODE, "10.88.0.0/24")
            folder, certificate = self.plane.folder, self.plane.certificate
            agent = network_policies(NODE, self.plane.token("admin"), certificate, folder, self._watchdog)
            for part in (kube_proxy(NODE, self._configuration, self._watchdog), agent):
                part.start()
                stack.callback(part.end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def add_node(self, name: str, address: str, subnet: str) -> Kubelet:
        """Start a node, which ends with the cluster. Its pods end with the sandbox."""
        kubelet = Kubelet(name, address, subnet, self.plane, self._configuration, self._watchdog)
        for part in (kubelet.runtime.part, kubelet.part):
            self._stack.callback(part.end)
        kubelet.start()
        return kubelet
