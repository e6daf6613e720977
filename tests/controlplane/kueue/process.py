"""A real Kueue as a process beside the control plane, under its own ServiceAccount and rights."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml
from ports import free_port

from controlplane.kueue.manifests import ACCOUNT, NAMESPACE, documents
from controlplane.kueue.queues import CLUSTER_QUEUES, FLAVORS, cluster_queue, flavor
from controlplane.plane.api_client import ApiError, Object
from controlplane.plane.build import binary, module_folder
from controlplane.plane.certificates import Authority
from controlplane.plane.control_plane import ControlPlane
from controlplane.plane.part import Part
from controlplane.plane.watchdog import Watchdog

READY_SECONDS = 180
PODS_READY_SECONDS = 30
"""How long the pods of an admitted Job may take to be ready: short for a test, and long for a busy machine."""
REQUEUE_SECONDS = 3
REQUEUES = 1
LEFT_ALONE = "left-alone-by-kueue"
"""Label of namespaces whose Jobs Kueue does not manage; in all others it also manages those that name no queue."""
_PROBE = "probe"
_MOUNTS = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir -p "$1/upper/kueue/metrics" "$1/work"
ln -s "$2" "$1/upper/kueue/metrics/certs"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc
shift 2
exec "$@"
"""
"""Kueue reads certificates from /etc/kueue/metrics/certs, whatever its configuration says of metrics: there they are, for it alone."""


class Kueue:
    """Runs from entering the context to leaving it.

    Args:
        plane: A running control plane without Kueue.
        folder: For its files and its log.
    """

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._plane = plane
        self._folder = folder
        self._webhooks = free_port()
        self._watchdog = Watchdog()

    def __enter__(self) -> Self:
        Authority(self._folder).issue("tls", "kueue", addresses=("127.0.0.1",))
        self._install((self._folder / "authority.crt").read_bytes())
        (self._folder / "configuration.yaml").write_text(yaml.safe_dump(self._configuration()))
        kubeconfig = self._plane.kubeconfig(f"{NAMESPACE}/{ACCOUNT}")
        program = [str(binary("kueue")), f"--config={self._folder / 'configuration.yaml'}", "--zap-log-level=2"]
        command = in_own_mounts(self._folder, program)
        self._part = Part("kueue", command, self._folder, self._watchdog, {"KUBECONFIG": str(kubeconfig)})
        self._part.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._part.end()
        self._watchdog.close()

    def _install(self, certificate: bytes) -> None:
        file = self._folder / "kueue.yaml"
        file.write_text(yaml.safe_dump_all(documents(module_folder("kueue"), f"https://127.0.0.1:{self._webhooks}", certificate)))
        self._plane.kubectl("apply", "--server-side", "-f", str(file), timeout=READY_SECONDS)
        _within(READY_SECONDS, self._are_kinds_served, "Kueue's kinds are served")

    def _are_kinds_served(self) -> bool:
        api = self._plane.api()
        try:
            for crd in api.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"):
                version = next(one["name"] for one in crd["spec"]["versions"] if one["storage"])
                api.get(f"/apis/{crd['spec']['group']}/{version}/{crd['spec']['names']['plural']}")
        except ApiError:  # 404, then 429 while the storage begins
            return False
        return True

    def _configuration(self) -> Object:
        """The least: Jobs alone, and waits that a test can bear."""
        return {
            "apiVersion": "config.kueue.x-k8s.io/v1beta2",
            "kind": "Configuration",
            "namespace": NAMESPACE,
            "health": {"healthProbeBindAddress": "0"},
            "metrics": {"bindAddress": "0"},
            "webhook": {"host": "127.0.0.1", "port": self._webhooks, "certDir": str(self._folder)},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "clientConnection": {"qps": 200, "burst": 400},
            "featureGates": {"VisibilityOnDemand": False, "MultiKueue": False},
            "integrations": {"frameworks": ["batch/job"]},
            "manageJobsWithoutQueueName": True,
            "managedJobsNamespaceSelector": {
                "matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", NAMESPACE]},
                    {"key": LEFT_ALONE, "operator": "DoesNotExist"},
                ]
            },
            "waitForPodsReady": {
                "timeout": f"{PODS_READY_SECONDS}s",
                "requeuingStrategy": {"backoffBaseSeconds": REQUEUE_SECONDS, "backoffLimitCount": REQUEUES},
            },
        }

    def _wait_until_ready(self) -> None:
        log = f"its log is {self._part.log}"
        _within(READY_SECONDS, self._opens_a_queue, f"Kueue's webhooks answer the API server; {log}")
        _within(READY_SECONDS, self._is_at_work, f"Kueue looks at a new queue; {log}")
        for path in (CLUSTER_QUEUES, FLAVORS):
            self._plane.api().delete(f"{path}/{_PROBE}")

    def _opens_a_queue(self) -> bool:
        self._part.check()
        api = self._plane.api()
        try:
            if api.find(f"{FLAVORS}/{_PROBE}") is None:
                api.create(FLAVORS, flavor(_PROBE, {}))
            api.create(CLUSTER_QUEUES, cluster_queue(_PROBE, _PROBE, {"cpu": "1"}))
        except ApiError:
            return False
        return True

    def _is_at_work(self) -> bool:
        self._part.check()
        status = self._plane.api().get(f"{CLUSTER_QUEUES}/{_PROBE}").get("status", {})
        return any(one["type"] == "Active" and one["status"] == "True" for one in status.get("conditions", ()))


def why_not(folder: Path) -> str:
    """Why Kueue cannot run on this machine; empty: it can."""
    tried = subprocess.run(in_own_mounts(folder, ["true"]), capture_output=True, text=True, check=False)
    return f"Kueue needs a mount namespace of its own (root, or user namespaces): {tried.stderr.strip()}" if tried.returncode else ""


def in_own_mounts(folder: Path, program: list[str]) -> list[str]:
    """The command that runs a program for which ``folder`` holds Kueue's certificates (`_MOUNTS`)."""
    (folder / "etc").mkdir(exist_ok=True)
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *user, "sh", "-c", _MOUNTS, "sh", str(folder / "etc"), str(folder), *program]


def _within(seconds: float, holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.1)
