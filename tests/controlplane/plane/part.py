"""One server process of the fixtures: started, killed and started again with the same command, its output in a log file."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from controlplane.plane.watchdog import Watchdog


class Part:
    """A server with a name."""

    def __init__(
        self, name: str, command: list[str], folder: Path, watchdog: Watchdog, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = command
        self._watchdog = watchdog
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Start the process. Does not wait for it to be ready."""
        assert self._process is None, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.log.parent,
                env=self._environment,
                start_new_session=True,
            )
        self._watchdog.add(self._process.pid)

    def check(self) -> None:
        """Raise if the process has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} ended with {code}; end of {self.log}:\n{tail}")

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal and wait for the end; fine if it does not run."""
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait()
        self._watchdog.remove(self._process.pid)
        self._process = None
