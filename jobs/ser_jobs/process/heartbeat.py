"""Signs of life of one process of a stage, in a small file that the supervisor reads (`ser_jobs.supervisor`).

A step that has ended is a sign of life, and the next one is then due soon. Before work that shows no steps (loading, saving, encoding) a
process says so, and is given more time. So a process that stands still is told from one that is busy.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SER_HEARTBEAT"
"""Environment variable with the path of the file; without it nobody watches."""
_PHASE_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Sign:
    """The newest sign of life.

    Attributes:
        number: Signs so far; another number is another sign.
        steps: Steps that have ended since the last work without steps began.
        phase: That work.
    """

    number: int = 0
    steps: int = 0
    phase: str = "starting"


class Heartbeat:
    """Writes signs of life; costs microseconds, so that every step may give one.

    Args:
        path: The file; None: nobody watches.
        has_steps: Whether the stage reports steps as they end. Where it does not, progress is a sign of life that promises no next one.
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
        """What follows shows no steps until the next `step`."""
        self._write(Sign(self._sign.number + 1, 0, phase))

    def _write(self, sign: Sign) -> None:
        self._sign = sign
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk is found by whoever needs it
                os.pwrite(self._file, f"{sign.number:012d} {sign.steps:012d} {sign.phase:<{_PHASE_LENGTH}.{_PHASE_LENGTH}}".encode(), 0)


def from_environment(environment: Mapping[str, str], *, has_steps: bool = True) -> Heartbeat:
    """The heartbeat of the process that has this environment."""
    path = environment.get(VARIABLE)
    return Heartbeat(Path(path) if path else None, has_steps=has_steps)


def read(path: Path) -> Sign | None:
    """The newest sign of life in a file; None when there is none, or it is just being written."""
    try:
        number, steps, phase = path.read_text(encoding="utf-8", errors="replace").split(" ", 2)
        return Sign(int(number), int(steps), phase.strip())
    except (OSError, ValueError):
        return None
