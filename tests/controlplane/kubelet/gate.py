"""Holding containers: their pods run, as far as Kubernetes sees, and do nothing until a test lets them."""

import threading
from collections.abc import Mapping, Sequence

from controlplane.kubelet.containers import Container, Outcome, StartedPod


class Gate:
    """Holds the containers of the pods that carry certain labels. Leaving its context releases them."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._open = threading.Event()
        self._changed = threading.Condition()
        self._arrived: list[StartedPod] = []

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def is_open(self) -> bool:
        """Whether it was released."""
        return self._open.is_set()

    @property
    def pods(self) -> list[StartedPod]:
        """The pods that have come here so far."""
        with self._changed:
            return list(self._arrived)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a pod is held."""
        return not self.is_open and self._labels.items() <= labels.items()

    def arrive(self, pod: StartedPod) -> None:
        """A pod is held from now on."""
        with self._changed:
            self._arrived.append(pod)
            self._changed.notify_all()

    def wait_for_pod(self, timeout: float = 120, count: int = 1) -> StartedPod:
        """Wait until so many pods have come here; returns the latest."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._arrived) >= count, timeout):
                raise TimeoutError(f"{len(self._arrived)} of {count} pods with {self._labels} have started after {timeout} s")
            return self._arrived[-1]

    def release(self) -> None:
        """Let them go on, and hold no others."""
        self._open.set()


class HeldContainer:
    """A container that has started, as far as Kubernetes sees, and does nothing until it is released or ended by a signal."""

    def __init__(self, container: Container, gates: Sequence[Gate], pod: StartedPod) -> None:
        self._container = container
        self._gates = gates
        self._pod = pod
        self._lock = threading.Lock()
        self._started = False
        self._signal: int | None = None
        self._signalled = threading.Event()

    def start(self) -> None:
        for gate in self._gates:
            gate.arrive(self._pod)

    def signal(self, number: int) -> None:
        with self._lock:
            if not self._started:
                self._signal = number
                self._signalled.set()
                return
        self._container.signal(number)

    def wait(self) -> Outcome:
        while not all(gate.is_open for gate in self._gates):
            if self._signalled.wait(0.02):
                break
        with self._lock:
            if self._signal is not None:
                return Outcome(128 + self._signal)
            self._container.start()
            self._started = True
        return self._container.wait()
