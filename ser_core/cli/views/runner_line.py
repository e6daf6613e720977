"""Whether somebody carries a run of this machine out, in one line."""

from ser_core.api.serrun import SERRun
from ser_core.api.status import Phase
from ser_core.cli.access.runner import Seen

GOES_ON = (Phase.RUNNING, Phase.QUEUED, Phase.WAITING)
"""Phases in which a `ser run` is at work, if it was not killed."""


def is_left(run: SERRun, seen: Seen | None) -> bool:
    """Whether a run stopped without ending."""
    return run.status.phase in GOES_ON and (seen is None or not seen.alive)


def runner_line(run: SERRun, seen: Seen | None, target: str) -> str:
    """Who works on a run; empty: nobody does, and nobody should.

    Args:
        run: A run of this machine.
        seen: Who holds its lock.
        target: What the user named it by.
    """
    if is_left(run, seen):
        return f"{left_by(seen)}; ser run {target} goes on"
    return seen.told if seen is not None and seen.alive else ""


def left_by(seen: Seen | None) -> str:
    """How a run was left that stopped without ending."""
    return "no ser run works on it" if seen is None else f"{seen.told}, stopped without ending"
