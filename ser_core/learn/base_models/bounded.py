"""Work in a child process with limits: for libraries that have none, on files that somebody else has made."""

import contextlib
import faulthandler
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_MEMORY = 3
_POLL_SECONDS = 0.005
_STILL_SECONDS = 60
"""Without any processor time a child stands still, and the work itself will tell more. One that computes is waited for, on the slowest
machine too: given up by a clock on the wall, it would be done again here, without limits."""


def exceeded(work: Callable[[], object], seconds: int, gigabytes: float) -> str:
    """Do some work in a copy of this process, and throw its result away.

    Args:
        work: What is tried. It must need no other thread of this process.
        seconds: Of processor time that it may take.
        gigabytes: Of memory that it may take beside what this process has.

    Returns:
        What it takes too much of, in words. Empty: it ended, well or with an error, which the work itself will raise again.
    """
    child = os.fork()
    if child == 0:
        _work(work, seconds, gigabytes)
    status = None
    try:
        status = _wait(child)
    finally:
        if status is None:  # it stands still, or this process is told to stop
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if status is None:
        return ""
    code = os.waitstatus_to_exitcode(status)
    if code in (_MEMORY, -signal.SIGABRT, -signal.SIGSEGV):
        return f"more than {gigabytes} GB of memory"
    if code == -signal.SIGKILL:
        return "more memory than there is"
    return f"more than {seconds} s of processor time" if code == -signal.SIGXCPU else ""


def _work(work: Callable[[], object], seconds: int, gigabytes: float) -> NoReturn:
    code = 0
    try:
        faulthandler.disable()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        with contextlib.suppress(OSError):  # of all processes the kernel is to end this one, if there is not so much memory
            Path("/proc/self/oom_score_adj").write_text("1000")
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + int(gigabytes * 1e9),) * 2)
        work()
    except MemoryError:
        code = _MEMORY
    except BaseException:
        code = 0
    finally:
        os._exit(code)


def _wait(child: int) -> int | None:
    taken, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        now = _processor_time(child)
        if now != taken:
            taken, since = now, time.monotonic()
        elif time.monotonic() - since > _STILL_SECONDS:
            return None
        time.sleep(_POLL_SECONDS)


def _processor_time(process: int) -> int:
    """What a process has taken, in ticks of the kernel's clock."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
