"""Child processes of the supervisor. Each has a process group of its own, and none outlives the supervisor."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_NOT_STARTED = 127


def start(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Start a program; returns its process id. Call it from the main thread: the child dies with the thread that started it.

    Args:
        command: The program and its arguments.
        environment: All of its variables.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, environment, parent)
    return pid


def _become(command: Sequence[str], environment: Mapping[str, str], parent: int) -> None:
    try:
        os.setpgid(0, 0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before prctl could tie this process to it
            os._exit(_NOT_STARTED)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.execve(command[0], list(command), environment)
    except OSError as error:
        print(f"error: {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(_NOT_STARTED)


def ended() -> list[tuple[int, int]]:
    """Process id and exit code (128 + the signal) of every child that has ended since the last call, in the order of their ends.

    PID 1 of a container inherits orphans, so some of these children may have been started by other processes.
    """
    found: list[tuple[int, int]] = []
    with contextlib.suppress(ChildProcessError):
        while (status := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            code = os.waitstatus_to_exitcode(status[1])
            found.append((status[0], code if code >= 0 else 128 - code))
    return found


def send(pid: int, number: int) -> None:
    """Signal one child; fine if it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill(pid: int) -> None:
    """End a child and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def is_stopped(pid: int) -> bool:
    """Whether a process is frozen (SIGSTOP), so that it can answer no signal."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False
