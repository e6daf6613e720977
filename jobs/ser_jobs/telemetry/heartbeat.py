"""Signs of life of one process of a stage, in a small file that the supervisor reads (`ser_jobs.supervisor`).

The end of a step is a sign of life, and the next one is then expected soon. Before work that has no steps (loading, saving, encoding) a
process announces this work and gets more time. So the supervisor can tell a process that hangs from one that is busy.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SER_HEARTBEAT"
"""Environment variable with the path of the file. If it is not set, nobody watches the process."""
_PHASE_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Sign:
    """The newest sign of life.

    Attributes:
        number: Signs so far. A new number is a new sign.
        steps: Steps that have ended since the last work without steps began.
        phase: The name of that work.
    """

    number: int = 0
    steps: int = 0
    phase: str = "starting"


class Heartbeat:
    """Writes signs of life. Each takes microseconds, so every step gives one.

    Args:
        path: The file; None: nobody watches the process.
        has_steps: Whether the stage computes in steps. If not, progress is a sign of life, but the next one is not expected soon.
    """

    def __init__(self, path: Path | None, *, has_steps: bool = True) -> None:
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        self._has_steps = has_steps
        self._sign = Sign()

    def step(self) -> None:
        """A step has ended."""
        before = self._sign
        self._write(Sign(before.number + 1, before.steps + self._has_steps, before.phase))

    def silent(self, phase: str) -> None:
        """Work without steps begins; it lasts until the next `step`."""
        self._write(Sign(self._sign.number + 1, 0, phase))

    def _write(self, sign: Sign) -> None:
        self._sign = sign
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk must not fail the stage here
                os.pwrite(self._file, f"{sign.number:012d} {sign.steps:012d} {sign.phase:<{_PHASE_LENGTH}.{_PHASE_LENGTH}}".encode(), 0)


def from_environment(environment: Mapping[str, str], *, has_steps: bool = True) -> Heartbeat:
    """The heartbeat of the process that has this environment."""
    path = environment.get(VARIABLE)
    return Heartbeat(Path(path) if path else None, has_steps=has_steps)


def read(path: Path) -> Sign | None:
    """The newest sign of life in a file; None: there is none, or the file is just being written."""
    try:
        number, steps, phase = path.read_text(encoding="utf-8", errors="replace").split(" ", 2)
        return Sign(int(number), int(steps), phase.strip())
    except (OSError, ValueError):
        return None
