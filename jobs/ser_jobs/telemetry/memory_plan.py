"""What a stage was found to need. The part of main memory is also in a file: the kernel may kill the process before it can tell it."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ser_core.memory.plan import StagePlan

VARIABLE = "SER_MEMORY_PLAN"
"""Environment variable with the path of the file. If it is not set, nobody reads it."""


class MemoryPlan:
    """The plan of one process.

    Args:
        path: Its file; None: nobody reads it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.found: StagePlan | None = None
        """None: nothing was planned, or nothing yet."""

    def tell(self, plan: "StagePlan") -> None:
        """Keep a plan; the newest counts."""
        from ser_core.memory.words import host_line  # the supervisor needs the rest of this module, and must start fast

        self.found = plan
        if self._path is not None:
            with contextlib.suppress(OSError):  # a full disk must not fail the stage here
                self._path.write_text(host_line(plan), encoding="utf-8")


def from_environment(environment: Mapping[str, str]) -> MemoryPlan:
    """The plan whose file the supervisor reads."""
    path = environment.get(VARIABLE)
    return MemoryPlan(Path(path) if path else None)


def read(path: Path) -> str:
    """What a process was planned to need of main memory; empty: it did not say."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8")
    return ""
