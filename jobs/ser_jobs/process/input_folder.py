"""Where the inputs of a stage are kept, so that the processes of one pod download each only once."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

VARIABLE = "SER_INPUTS"
"""Environment variable with a folder that the processes of a pod share; without it each has its own."""


def from_environment(environment: Mapping[str, str]) -> Path | None:
    """The shared folder; it may not exist yet."""
    path = environment.get(VARIABLE)
    return Path(path) if path else None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from filling ``folder`` meanwhile; also given up when this process is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
