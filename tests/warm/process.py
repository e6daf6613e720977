"""A process that was forked from a warm server; its methods are those of `subprocess.Popen`."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading


class WarmProcess:
    """Runs from the beginning. Its methods may be called from any thread.

    Args:
        connection: By which it was asked for.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.pid = int(connection.recv(100))
        self._connection = connection
        self._lock = threading.Lock()
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or less than 0 the signal that ended it; None while it runs."""
        with self._lock:
            if self._code is None and select.select([self._connection], [], [], 0)[0]:
                with self._connection:
                    self._code = int(self._connection.recv(100))
            return self._code

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended."""
        while (code := self.poll()) is None:
            with contextlib.suppress(ValueError):  # another thread has heard of its end
                if not select.select([self._connection], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing happens if it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)
