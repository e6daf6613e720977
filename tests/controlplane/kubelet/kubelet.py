"""The process kubelet: runs the pods of its nodes as processes of this machine, or as Python functions."""

import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from controlplane.kubelet.containers import Container, Double, DoubleContainer, ProcessContainer, StartedPod
from controlplane.kubelet.gate import Gate, HeldContainer
from controlplane.kubelet.kubelet_api import UNREACHABLE, KubeletApi
from controlplane.kubelet.pod_addresses import PodAddresses
from controlplane.kubelet.pod_status import now
from controlplane.kubelet.pod_worker import PodWorker
from controlplane.kubelet.warm import STAGES, WarmContainer
from controlplane.plane.api_client import ApiError, Object, Watch
from controlplane.plane.control_plane import ControlPlane
from controlplane.plane.watchdog import Watchdog

RELIST_SECONDS = 20
_PODS = "/api/v1/pods"
_BOUND = "spec.nodeName!="


@dataclass(slots=True)
class Rejection:
    """Pods that are refused when they come."""

    labels: Mapping[str, str]
    reason: str
    message: str
    left: int


class ProcessKubelet:
    """Plays the kubelet of some nodes from entering its context to leaving it.

    Attributes:
        double: What plays the containers that start from now on; None: they are processes.
        warm: Stages are forked from one process that has loaded their libraries, and not started.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        folder: Path,
        *nodes: str,
        double: Double | None = None,
        image_environment: Mapping[str, str] | None = None,
        warm: bool = False,
    ) -> None:
        """One kubelet for all of ``nodes``; files of its pods go below ``folder``.

        Args:
            control_plane: Whose pods to run.
            folder: A folder of its own.
            nodes: Names of its nodes.
            double: See the attribute.
            image_environment: Variables that every image sets, such as ``OMP_NUM_THREADS``.
            warm: See the attribute.
        """
        self.double = double
        self.warm = warm
        self._folder = folder
        self._nodes = frozenset(nodes)
        server = urlsplit(control_plane.server)
        service = {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}  # as every kubelet does
        self._image_environment = {**service, **(image_environment or {})}
        self._api = KubeletApi(control_plane.api("kubelet"))
        self._addresses = PodAddresses()
        self._watchdog = Watchdog()
        self._watch: Watch | None = None
        self._gates: list[Gate] = []
        self._rejections: list[Rejection] = []
        self._rejected: set[str] = set()
        self._lock = threading.Lock()
        self._workers: dict[str, PodWorker] = {}
        self._thread = threading.Thread(target=self._follow, name="kubelet", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._api.stop()
        if self._watch is not None:
            self._watch.stop()
        self._thread.join(10)
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.abandon()
        for worker in workers:
            worker.thread.join(10)
        self._watchdog.close()

    # What a test may do to pods

    def hold(self, labels: Mapping[str, str]) -> Gate:
        """From now on, pods with these labels start (Kubernetes sees them run) and do nothing until the gate is released."""
        gate = Gate(labels)
        self._gates.append(gate)
        return gate

    def reject(self, labels: Mapping[str, str], reason: str, message: str, times: int) -> None:
        """Refuse the next ``times`` pods with these labels when they come, as a kubelet does without the device or the CPUs for them."""
        self._rejections.append(Rejection(labels, reason, message, times))

    def kill(self, namespace: str, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the container of a running pod, as a crash would."""
        self._worker(namespace, name).signal(number)

    def oom(self, namespace: str, name: str) -> None:
        """End the container of a running pod as the kernel does when its memory is used up: ``OOMKilled``, 137."""
        self._worker(namespace, name).signal(signal.SIGKILL, "OOMKilled")

    def mark_disrupted(self, namespace: str, name: str) -> None:
        """Evict a pod by the API's own eviction: it adds ``DisruptionTarget`` and deletes with grace."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        self._api.client.create(f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", eviction)

    def disconnect(self) -> None:
        """Cut the nodes off: containers go on, nothing is seen or said of them until `reconnect`."""
        self._api.connected.clear()
        if self._watch is not None:
            self._watch.stop()

    def reconnect(self) -> None:
        """End `disconnect`."""
        self._api.connected.set()

    def logs(self, namespace: str, name: str) -> str:
        """Standard output and error of the container of a pod, also after it is gone."""
        path = self._worker(namespace, name).log
        return path.read_text(errors="replace") if path.exists() else ""

    def process_container(self, pod: StartedPod) -> Container:
        """What runs a pod where no double plays it."""
        if self.warm and pod.command[: len(STAGES)] == STAGES:
            return WarmContainer(pod, self._watchdog)
        return ProcessContainer(pod, self._watchdog)

    def _worker(self, namespace: str, name: str) -> PodWorker:
        with self._lock:
            for worker in reversed(self._workers.values()):
                metadata = worker.pod["metadata"]
                if (metadata["namespace"], metadata["name"]) == (namespace, name):
                    return worker
        raise KeyError(f"no pod {namespace}/{name} was seen by this kubelet")

    # The loop

    def _follow(self) -> None:
        """List and watch for ever; every new watch begins with a list, so that nothing is missed."""
        client = self._api.client
        while not self._api.stopped.is_set():
            self._api.connected.wait()
            try:
                listed = client.get(_PODS, fieldSelector=_BOUND)
                self._replace(listed["items"])
                query = {
                    "fieldSelector": _BOUND,
                    "resourceVersion": listed["metadata"]["resourceVersion"],
                    "timeoutSeconds": str(RELIST_SECONDS),
                }
                self._watch = client.watch(_PODS, query)
                if self._api.stopped.is_set() or not self._api.connected.is_set():
                    continue
                for event in self._watch.events():
                    if event["type"] == "ERROR":
                        break
                    self._see(event["object"], gone=event["type"] == "DELETED")
            except (ApiError, ValueError, *UNREACHABLE):
                self._api.stopped.wait(0.2)

    def _replace(self, pods: list[Object]) -> None:
        live = {pod["metadata"]["uid"] for pod in pods}
        with self._lock:
            gone = [worker for uid, worker in self._workers.items() if uid not in live]
        for worker in gone:
            worker.abandon()
        for pod in pods:
            self._see(pod, gone=False)

    def _see(self, pod: Object, *, gone: bool) -> None:
        if pod["spec"].get("nodeName") not in self._nodes:
            return
        metadata = pod["metadata"]
        worker = self._workers.get(metadata["uid"])
        if gone:
            if worker is not None:
                worker.abandon()
            return
        if worker is None:
            if pod["status"]["phase"] in ("Succeeded", "Failed") or metadata["uid"] in self._rejected:
                return
            if (rejection := self._next_rejection(metadata.get("labels", {}))) is not None:
                self._rejected.add(metadata["uid"])
                self._api.write_status(
                    pod, {"phase": "Failed", "reason": rejection.reason, "message": rejection.message, "startTime": now()}
                )
                return
            worker = self._start(pod)
        if "deletionTimestamp" in metadata:
            worker.terminate(metadata["deletionGracePeriodSeconds"])

    def _next_rejection(self, labels: Mapping[str, str]) -> "Rejection | None":
        for rejection in self._rejections:
            if rejection.left and rejection.labels.items() <= labels.items():
                rejection.left -= 1
                return rejection
        return None

    def _start(self, pod: Object) -> PodWorker:
        metadata = pod["metadata"]
        folder = self._folder / metadata["namespace"] / f"{metadata['name']}-{metadata['uid'][:8]}"
        worker = PodWorker(pod, self._api, folder, self._addresses, self._image_environment, self._container)
        with self._lock:
            self._workers[metadata["uid"]] = worker
        worker.thread.start()
        return worker

    def _container(self, pod: StartedPod) -> Container:
        double = self.double
        container: Container = self.process_container(pod) if double is None else DoubleContainer(pod, double)
        gates = [gate for gate in self._gates if gate.matches(pod.labels)]
        return HeldContainer(container, gates, pod) if gates else container
