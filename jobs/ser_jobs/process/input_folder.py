"""Where the inputs of a stage are kept, so that the processes of one pod download each of them once."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

VARIABLE = "SER_INPUTS"
"""Environment variable with the folder that the processes of a pod share. If it is not set, each process has its own folder."""


def from_environment(environment: Mapping[str, str]) -> Path | None:
    """The shared folder; it may not exist yet."""
    path = environment.get(VARIABLE)
    return Path(path) if path else None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``, so that one process at a time fills it. The lock is also released when this process is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
