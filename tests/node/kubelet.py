"""The kubelet of one node, and its containerd."""

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from controlplane.plane.build import command
from controlplane.plane.control_plane import ControlPlane
from controlplane.plane.part import Part
from controlplane.plane.watchdog import Watchdog
from node import addresses
from node.configuration import NodeConfiguration, node_token
from node.containerd import Containerd

READY_SECONDS = 600
_EVICTION = {"memory.available": "100Mi", "nodefs.available": "2%", "imagefs.available": "2%", "nodefs.inodesFree": "1%"}


class Kubelet:
    """One node.

    Args:
        name: Of the node.
        address: Of the node.
        subnet: Of its pods' addresses.
        plane: The control plane, with what it was configured by.
    """

    def __init__(
        self, name: str, address: str, subnet: str, plane: ControlPlane, configuration: NodeConfiguration, watchdog: Watchdog
    ) -> None:
        self.name, self._address, self._plane, self._configuration = name, address, plane, configuration
        folder = plane.folder
        self.runtime = Containerd(name, subnet, folder, watchdog)
        self._file = folder / f"{name}.json"
        flags = [f"--config={self._file}", f"--kubeconfig={configuration.kubeconfig(name, node_token(name))}"]
        flags += [f"--hostname-override={name}", f"--node-ip={address}"]
        flags += [f"--root-dir=/var/lib/kubelet/{name}", f"--cert-dir=/var/lib/kubelet/{name}/pki"]
        self.part = Part(f"kubelet-{name}", [*command("kubelet"), *flags], folder, watchdog)

    def start(self) -> None:
        """Start containerd and the kubelet, and wait until the node is ready."""
        self.runtime.start()
        self.runtime.add_pause()
        self.begin()

    def begin(self, eviction: Mapping[str, str] = _EVICTION) -> None:
        """Start the kubelet alone, also again after `part.end`, and wait until the node is ready. ``eviction`` replaces hard thresholds."""
        self._file.write_text(json.dumps(self._settings({**_EVICTION, **eviction})))
        self.part.start()
        self.wait_until("True")

    def freeze(self) -> None:
        """Stop the kubelet in its tracks: it lives, and does nothing."""
        os.kill(self.part.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.part.pid, signal.SIGCONT)

    def wait_until(self, ready: str, seconds: float = READY_SECONDS) -> None:
        """Wait until the node's condition Ready is ``True``, ``False`` or ``Unknown``."""
        deadline = time.monotonic() + seconds
        while self.ready() != ready:
            self.part.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"node {self.name}: Ready is {self.ready()}, not {ready}, after {seconds} s; its log is {self.part.log}")
            time.sleep(0.1)

    def ready(self) -> str:
        """The node's condition Ready; empty before there is one."""
        node = self._plane.api().find(f"/api/v1/nodes/{self.name}") or {}
        conditions = node.get("status", {}).get("conditions", ())
        return next((one["status"] for one in conditions if one["type"] == "Ready"), "")

    def add_gpus(self, gpus: int) -> None:
        """Let the node say that it has GPUs. A kubelet that starts anew says that it has none."""
        amount = {"nvidia.com/gpu": str(gpus)}
        self._plane.api().patch(f"/api/v1/nodes/{self.name}/status", {"status": {"capacity": amount, "allocatable": amount}})

    def _settings(self, eviction: Mapping[str, str]) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self._address,
            "healthzBindAddress": self._address,
            "containerRuntimeEndpoint": f"unix://{self.runtime.socket}",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": _cgroup(self.name),
            "podLogsDir": f"/var/log/pods/{self.name}",
            "clusterDNS": [addresses.DNS_SERVICE],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "failSwapOn": False,
            "serializeImagePulls": True,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": dict(eviction),
            "evictionPressureTransitionPeriod": "10s",
            "nodeStatusUpdateFrequency": "5s",
            "syncFrequency": "10s",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self._configuration.certificate)},
            },
            "authorization": {"mode": "Webhook"},
        }


def _cgroup(name: str) -> str:
    """A node's own part of the sandbox's control groups."""
    path = f"{os.environ['SER_NODE_CGROUP']}/{name}"
    root = Path("/sys/fs/cgroup")
    for hierarchy in [root] if (root / "cgroup.procs").exists() else root.iterdir():
        (hierarchy / path.lstrip("/")).mkdir(exist_ok=True)
    return path
