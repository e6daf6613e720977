"""The life of one pod on the process kubelet, in a thread of its own."""

import contextlib
import math
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from controlplane.kubelet.containers import Container, Outcome, StartedPod
from controlplane.kubelet.kubelet_api import KubeletApi, Stopped
from controlplane.kubelet.pod_addresses import PodAddresses
from controlplane.kubelet.pod_environment import UnsupportedPod
from controlplane.kubelet.pod_probes import Probes
from controlplane.kubelet.pod_setup import set_up
from controlplane.kubelet.pod_status import StatusWriter, now
from controlplane.kubelet.pod_volumes import MissingSource
from controlplane.plane.api_client import Object

MISSING_IMAGES = "missing/"
"""Images with this prefix cannot be pulled."""
RETRY_SECONDS = 1.0
_KILLED = 128 + signal.SIGKILL


class PodWorker:
    """Runs a pod from the moment it is bound to the node until nothing of it runs.

    Args:
        pod: The stored pod.
        api: The way to the API server.
        folder: Where its files go.
        addresses: Of all pods of the kubelet.
        image_environment: Variables that the image would set.
        make_container: What runs it.
    """

    def __init__(
        self,
        pod: Object,
        api: KubeletApi,
        folder: Path,
        addresses: PodAddresses,
        image_environment: Mapping[str, str],
        make_container: Callable[[StartedPod], Container],
    ) -> None:
        self.pod = pod
        self.log = folder / "log.txt"
        self.thread = threading.Thread(target=self._run, name=f"pod {pod['metadata']['name']}", daemon=True)
        self._api = api
        self._folder = folder
        self._make_container = make_container
        address = addresses.of(pod)
        self._set_up: Callable[[], StartedPod] = lambda: set_up(pod, folder, address, image_environment, api, addresses.resolve)
        self._status = StatusWriter(pod, address, now())
        self._lock = threading.Lock()
        self._container: Container | None = None
        self._deleting = threading.Event()
        self._grace = math.inf
        self._ended = False
        self._reason: str | None = None

    # Said by the kubelet's loop and by tests

    def terminate(self, grace_seconds: float) -> None:
        """The pod is deleted: SIGTERM now, SIGKILL after the grace. Called again, it may shorten the grace."""
        with self._lock:
            if grace_seconds >= self._grace:
                return
            self._grace = grace_seconds
            first = not self._deleting.is_set()
            self._deleting.set()
            container, ended = self._container, self._ended
        if ended:
            if first:  # deleted just as it ended: nothing is left but to say so
                threading.Thread(target=self._confirm_deletion, daemon=True).start()
        elif container is not None:
            self._end(container, sigterm=first)

    def abandon(self) -> None:
        """The pod is gone from the API, or the kubelet stops: nothing of it may go on."""
        self.terminate(0)

    def signal(self, number: int, reason: str | None = None) -> None:
        """Send a signal to the container.

        Args:
            number: The signal.
            reason: What the status then says instead of ``Error``.
        """
        with self._lock:
            container = self._container
            self._reason = reason or self._reason
        assert container is not None, f"the container of pod {self.pod['metadata']['name']} has not started"
        container.signal(number)

    def _end(self, container: Container, *, sigterm: bool) -> None:
        if not self._grace:
            container.signal(signal.SIGKILL)
            return
        if sigterm:
            container.signal(signal.SIGTERM)
        killer = threading.Timer(self._grace, container.signal, (signal.SIGKILL,))
        killer.daemon = True
        killer.start()

    # The thread

    def _run(self) -> None:
        with contextlib.suppress(Stopped):
            try:
                self._live()
            except UnsupportedPod as error:
                message = f"the process kubelet of the tests does not play: {error}"
                print(f"pod {self.pod['metadata']['name']}: {message}", file=sys.stderr)
                self._api.record(self.pod, "Warning", "UnsupportedByProcessKubelet", message)
                self._api.write_status(self.pod, self._status.refused(message))
        with self._lock:
            self._ended = True
            deleting = self._deleting.is_set()
        if deleting:
            self._confirm_deletion()

    def _live(self) -> None:
        if self.pod["status"]["phase"] == "Running":
            self._never_ran("The container could not be located when the kubelet started")
        elif (pod := self._prepare()) is None:
            self._never_ran("The container could not be located when the pod was terminated")
        else:
            self._run_container(pod)

    def _prepare(self) -> StartedPod | None:
        """Everything that the container needs; None if the pod is deleted while something is missing."""
        image = self.pod["spec"]["containers"][0]["image"]
        if image.startswith(MISSING_IMAGES):
            self._wait_for_image(image)
        waits = False
        while not self._deleting.is_set():
            try:
                return self._set_up()
            except MissingSource as error:
                if not waits:
                    self._api.write_status(self.pod, self._status.waiting("ContainerCreating"))
                    waits = True
                self._api.record(self.pod, "Warning", "FailedMount", str(error))
                self._deleting.wait(RETRY_SECONDS)
        return None

    def _wait_for_image(self, image: str) -> None:
        """It never comes: wait until the pod is deleted."""
        failed = f'failed to pull and unpack image "{image}": not found'
        self._api.write_status(self.pod, self._status.waiting("ErrImagePull", failed))
        self._api.record(self.pod, "Warning", "Failed", f'Failed to pull image "{image}": {failed}')
        if not self._deleting.wait(RETRY_SECONDS):
            back_off = f'Back-off pulling image "{image}"'
            self._api.write_status(self.pod, self._status.waiting("ImagePullBackOff", f"{back_off}: ErrImagePull: {failed}"))
            self._api.record(self.pod, "Normal", "BackOff", back_off)
        self._deleting.wait()

    def _run_container(self, pod: StartedPod) -> None:
        restarts = 0
        started, outcome = self._run_once(pod, restarts)
        while self.pod["spec"]["restartPolicy"] == "Always" and not self._deleting.is_set():
            restarts += 1
            self._api.write_status(self.pod, self._status.backing_off(restarts))
            if not self._deleting.wait(RETRY_SECONDS):
                started, outcome = self._run_once(pod, restarts)
        reason = outcome.reason or ((self._reason or "Error") if outcome.exit_code else "Completed")
        self._api.write_status(self.pod, self._status.terminated(outcome.exit_code, reason, self._message(outcome), started))
        for leftover in (self._folder / "volumes", pod.folder):
            shutil.rmtree(leftover, ignore_errors=True)

    def _run_once(self, pod: StartedPod, restarts: int) -> tuple[str, Outcome]:
        """Run the container from its start, whose time is returned, to its end."""
        container = self._make_container(pod)
        container.start()
        started = now()
        with self._lock:
            self._container = container
            deleting = self._deleting.is_set()
        if deleting:
            self._end(container, sigterm=True)

        def tell(ready: bool) -> None:
            self._api.write_status(self.pod, self._status.running(started, ready=ready, restarts=restarts))

        with Probes(self.pod["spec"]["containers"][0], pod.address, tell, lambda: container.signal(signal.SIGKILL)):
            return started, container.wait()

    def _never_ran(self, message: str) -> None:
        self._api.write_status(self.pod, self._status.terminated(_KILLED, "ContainerStatusUnknown", message, None))

    def _message(self, outcome: Outcome) -> str:
        policy = self.pod["spec"]["containers"][0]["terminationMessagePolicy"]
        if outcome.message or policy != "FallbackToLogsOnError" or not outcome.exit_code or not self.log.exists():
            return outcome.message
        return self.log.read_bytes()[-2048:].decode(errors="replace")

    def _confirm_deletion(self) -> None:
        with contextlib.suppress(Stopped):
            self._api.delete(self.pod)
