"""Ends what a test process started, when the test process itself is killed.

A child of its own: it hears ``add PID`` and ``remove PID`` on its standard input, and kills the process groups that are left when
that input closes.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading


class Watchdog:
    """The parent's side."""

    def __init__(self) -> None:
        # no signal of the terminal reaches it: Ctrl-C must not end it before its parent
        self._process = subprocess.Popen([sys.executable, "-S", "-E", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True)
        self._lock = threading.Lock()

    def add(self, pid: int) -> None:
        """Watch over the leader of a process group."""
        self._tell(f"add {pid}")

    def remove(self, pid: int) -> None:
        """The process has been waited for."""
        self._tell(f"remove {pid}")

    def close(self) -> None:
        """Kill what is left."""
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process.stdin is not None and not self._process.stdin.closed:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()


def _main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        verb, pid = line.split()
        (groups.add if verb == "add" else groups.discard)(int(pid))
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    _main()
