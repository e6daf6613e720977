"""Two ways to run a container: as a process, or as a Python function that plays one."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from controlplane.plane.watchdog import Watchdog

MAX_MESSAGE_BYTES = 4096
START_ERROR = 128
"""Exit code of a command that does not exist."""


@dataclass(frozen=True)
class StartedPod:
    """A pod whose container starts now.

    Attributes:
        labels: Labels of the pod.
        command: Command and arguments, expanded.
        environment: What a process gets: the pod's variables, expanded, with real paths, over those of the image.
        folder: Its working directory, empty at first.
        address: Its IP, which is nobody else's.
        message_file: The termination message file.
        terminating: Set by SIGTERM; for doubles.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    address: str
    message_file: Path
    log: Path
    terminating: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Outcome:
    """How a container ended.

    Attributes:
        exit_code: 128 + the signal if one ended it.
        message: Its termination message.
        delay: For doubles: seconds that it runs before. SIGTERM meanwhile ends it with 143.
        reason: Left out: ``Completed`` or ``Error``.
    """

    exit_code: int = 0
    message: str = ""
    delay: float = 0
    reason: str | None = None


Double = Callable[[StartedPod], Outcome]


class Container(Protocol):
    """One container of one pod."""

    def start(self) -> None:
        """Start it; never blocks."""

    def signal(self, number: int) -> None:
        """Send it a signal; fine if it has ended."""

    def wait(self) -> Outcome:
        """Block until it has ended."""


class ProcessContainer:
    """A process in a session of its own. Its children die with it, unless they have made sessions of their own."""

    def __init__(self, pod: StartedPod, watchdog: Watchdog) -> None:
        self._pod = pod
        self._watchdog = watchdog
        self._process: subprocess.Popen[bytes] | None = None
        self._failure = ""

    def start(self) -> None:
        pod = self._pod
        try:
            with pod.log.open("ab") as log:
                self._process = subprocess.Popen(
                    pod.command,
                    env=dict(pod.environment),
                    cwd=pod.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            self._failure = f'exec: "{pod.command[0]}": {error.strerror}'
        else:
            self._watchdog.add(self._process.pid)

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self) -> Outcome:
        if self._process is None:
            return Outcome(START_ERROR, self._failure, reason="StartError")
        code = self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._watchdog.remove(self._process.pid)
        return outcome_of(self._pod, code)


def outcome_of(pod: StartedPod, code: int) -> Outcome:
    """How a process has ended: ``code`` is what Python says of it, below 0 when a signal ended it."""
    file = pod.message_file  # unlike a mounted one it can be removed
    message = file.read_bytes()[-MAX_MESSAGE_BYTES:].decode(errors="replace") if file.exists() else ""
    return Outcome(128 - code if code < 0 else code, message)


class DoubleContainer:
    """A function in a thread. It may watch `StartedPod.terminating`; SIGKILL ends it at once, and what it then returns is dropped."""

    def __init__(self, pod: StartedPod, double: Double) -> None:
        self._pod = pod
        self._double = double
        self._lock = threading.Lock()
        self._outcome: Outcome | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._play, name=f"double {self._pod.name}", daemon=True).start()

    def signal(self, number: int) -> None:
        if number == signal.SIGKILL:
            self._end(Outcome(128 + number))
        self._pod.terminating.set()

    def wait(self) -> Outcome:
        self._ended.wait()
        assert self._outcome is not None
        return self._outcome

    def _play(self) -> None:
        try:
            outcome = self._double(self._pod)
        except BaseException as error:
            self._end(Outcome(1, f"the double failed: {error!r}"))
            raise
        if outcome.delay and self._pod.terminating.wait(outcome.delay):
            outcome = Outcome(128 + signal.SIGTERM)
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        with self._lock:
            if self._outcome is None:
                self._outcome = outcome
                self._ended.set()
