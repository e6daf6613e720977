"""What the container's control group says of its memory: how many processes the kernel has killed for it, and the peak."""

from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")


def kernel_kills(group: Path = CONTROL_GROUP) -> int:
    """Processes that the kernel has killed so far, because no memory was left; 0 without control groups of version 2."""
    try:
        counts = dict(line.split() for line in (group / "memory.events").read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0


def peak_bytes(group: Path = CONTROL_GROUP) -> int | None:
    """Most memory that the container has held; None without control groups of version 2."""
    try:
        return int((group / "memory.peak").read_text())
    except (OSError, ValueError):
        return None
