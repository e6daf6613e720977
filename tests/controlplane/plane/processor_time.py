"""Who took how much processor time: every process of a scenario, from ``/proc``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controlplane.plane.control_plane import PARTS, ControlPlane


@dataclass(frozen=True)
class ProcessorTime:
    """User and system seconds by process, of a moment or of the time between two."""

    seconds: Mapping[str, float]

    @classmethod
    def now(cls, plane: ControlPlane, operator: int) -> "ProcessorTime":
        """Of the control plane, of an operator (its process id) and of this process, which plays kubelet, stages and users."""
        pids = {"operator": operator, **{part: plane.pid(part) for part in PARTS}, "kubelet and test": os.getpid()}
        return cls({name: seconds_of(pid) for name, pid in pids.items()})

    def __sub__(self, before: "ProcessorTime") -> "ProcessorTime":
        return ProcessorTime({name: seconds - before.seconds[name] for name, seconds in self.seconds.items()})

    def by(self, number: int) -> str:
        """The milliseconds that each process took for one of ``number``."""
        each = ", ".join(f"{name} {1000 * seconds / number:.0f}" for name, seconds in self.seconds.items())
        return f"{each}, together {1000 * sum(self.seconds.values()) / number:.0f}"


def seconds_of(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
