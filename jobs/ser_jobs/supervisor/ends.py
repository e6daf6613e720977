"""How the processes of a stage have ended, and which end explains the others. Pure."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

_ECHOES = (1, 128 + signal.SIGTERM)
"""An unexpected error may be only what the loss of another process looks like from here; so may a stop on request."""
KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True, slots=True)
class End:
    """The end of one process: its exit code, 128 + the signal where one ended it."""

    rank: int
    code: int


def cause(ends: Sequence[End]) -> End | None:
    """The end that explains the others, given in their order; None: all have succeeded."""
    failed = [end for end in ends if end.code]
    return min(failed, key=lambda end: end.code in _ECHOES, default=None)
