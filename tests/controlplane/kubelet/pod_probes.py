"""Probes of a container by HTTP. Without a readiness probe it is ready as soon as it runs."""

import contextlib
import http.client
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from controlplane.kubelet.kubelet_api import Stopped
from controlplane.plane.api_client import Object

PROBES = ("readinessProbe", "livenessProbe")


class Probes:
    """Asks from entering the context, as the container starts, to leaving it, as it has ended.

    Args:
        container: The container of the stored pod.
        address: IP of the pod.
        tell: Called with whether the container is ready, at first and whenever that changes.
        kill: Called when it counts as dead.
    """

    def __init__(self, container: Object, address: str, tell: Callable[[bool], None], kill: Callable[[], None]) -> None:
        self._ports = {port["name"]: port["containerPort"] for port in container.get("ports", ()) if "name" in port}
        self._address, self._tell, self._kill = address, tell, kill
        self._ended = threading.Event()
        loops = {"readinessProbe": self._watch_readiness, "livenessProbe": self._watch_life}
        self._threads = [
            threading.Thread(target=loops[name], args=(container[name],), name=f"{name} {address}", daemon=True)
            for name in PROBES
            if name in container
        ]
        self._is_ready = "readinessProbe" not in container

    def __enter__(self) -> Self:
        self._tell(self._is_ready)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _watch_readiness(self, probe: Object) -> None:
        """A real kubelet asks every `periodSeconds`; here a pod that is not ready is asked more often, so that no test waits for it."""
        failures = 0
        with contextlib.suppress(Stopped):
            while not self._ended.wait(probe["periodSeconds"] if self._is_ready else 0.2):
                good = self._ask(probe)
                failures = 0 if good else failures + 1
                ready = good or (self._is_ready and failures < probe["failureThreshold"])
                if ready != self._is_ready and not self._ended.is_set():
                    self._is_ready = ready
                    self._tell(ready)

    def _watch_life(self, probe: Object) -> None:
        failures = 0
        while not self._ended.wait(probe["periodSeconds"]):
            failures = 0 if self._ask(probe) else failures + 1
            if failures >= probe["failureThreshold"]:
                self._kill()
                return

    def _ask(self, probe: Object) -> bool:
        target = probe["httpGet"]
        port = self._ports.get(target["port"], target["port"])
        connection = http.client.HTTPConnection(self._address, port, timeout=probe["timeoutSeconds"])
        try:
            connection.request("GET", target.get("path", "/"))
            return connection.getresponse().status < http.client.BAD_REQUEST
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
