"""Processes that the kernel has killed because the container's memory was used up, as its control group counts them."""

from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")


def kernel_kills(group: Path = CONTROL_GROUP) -> int:
    """Killed processes so far; 0 where nobody counts (no control groups of version 2)."""
    try:
        counts = dict(line.split() for line in (group / "memory.events").read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0


def peak_bytes(group: Path = CONTROL_GROUP) -> int | None:
    """Most memory that the container has held; None where nobody counts."""
    try:
        return int((group / "memory.peak").read_text())
    except (OSError, ValueError):
        return None
