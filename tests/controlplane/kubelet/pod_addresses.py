"""Loopback addresses of pods, and the names by which a headless Service lets pods find each other."""

import re
import socket
import threading
from collections.abc import Iterator

from controlplane.plane.api_client import Object

_NAME = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+\.[a-z0-9-]+\.svc")


def _addresses() -> Iterator[str]:
    """Loopback addresses that no other test process takes as long as this one lives."""
    network = next(filter(_held, range(10, 250)))
    return (f"127.{network}.{high}.{low}" for high in range(256) for low in range(1, 255))


def _held(network: int) -> bool:
    """Whether this process has a network from now on; a name of a socket says so to the others."""
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0ser-pods-127.{network}")
    except OSError:
        holder.close()
        return False
    holder.detach()  # open until the process ends
    return True


_next_address = _addresses()
_lock = threading.Lock()


class PodAddresses:
    """The addresses that one kubelet gives. A name may be asked for before its pod is there: it will have that address."""

    def __init__(self) -> None:
        self._named: dict[str, str] = {}

    def of(self, pod: Object) -> str:
        """The address of a pod that starts: that of its name where it has one, else a new one."""
        spec = pod["spec"]
        with _lock:
            if not spec.get("subdomain"):
                return next(_next_address)
            return self._address(f"{spec['hostname']}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc")

    def resolve(self, value: str) -> str:
        """The address behind a pod's name; any other value stays as it is."""
        if not _NAME.fullmatch(value):
            return value
        with _lock:
            return self._address(value)

    def _address(self, name: str) -> str:
        if name not in self._named:
            self._named[name] = next(_next_address)
        return self._named[name]
