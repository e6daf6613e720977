"""Why a stage has ended. Whatever ends it becomes an `End`, and one rule finds the end that caused the others. Pure.

what happened                                 code                   error
a process exited, or a signal killed it       its own, 128 + signal  None: the process wrote its own message
the kernel killed a process for its memory    21                     `errors.killed_by_kernel`
a process hung                                22                     `errors.stage_hung`
not all pods of the gang came                 23                     `errors.rendezvous_timeout`
a process did not stop in time                143                    `errors.unstopped`
SIGTERM came before the processes started     143                    None: there is nothing to say
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ser_core.errors import Interrupted, SERError

_ECHOES = (1, Interrupted.exit_code)
"""Codes with which a process also ends when it has lost another one: an unexpected error, or a stop on request."""
_KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True, slots=True)
class End:
    """The end of one process, or of the whole pod.

    Attributes:
        rank: Rank of the process. None: the supervisor itself ended the pod.
        code: Exit code; 128 + the signal if a signal killed the process.
        error: What the supervisor says about it. None: nothing, since the process has its own message.
    """

    rank: int | None
    code: int
    error: SERError | None = None

    @classmethod
    def of(cls, error: SERError, rank: int | None = None) -> "End":
        """An end about which the supervisor says ``error``."""
        return cls(rank, error.exit_code, error)


def cause(ends: Sequence[End]) -> End | None:
    """The end that caused the others; ``ends`` are in the order in which they happened. None: all succeeded.

    An end that cannot be an echo of another one comes first, then the earliest.
    """
    failed = [end for end in ends if end.code]
    return min(failed, key=lambda end: end.code in _ECHOES, default=None)


def with_kernel_kills(ends: Sequence[End], error: Callable[[int], SERError]) -> list[End]:
    """The same ends, after the kernel has killed for memory: it counts as the killer of every process that SIGKILL ended.

    Args:
        ends: All ends.
        error: What the supervisor says when the kernel has killed that rank.
    """
    return [End.of(error(end.rank), end.rank) if end.rank is not None and end.code == _KILLED else end for end in ends]


def speakers(ends: Sequence[End]) -> list[int]:
    """Ranks whose own message may become the container's; the first one that wrote a message counts.

    After a success or a stop on request, that is the lowest rank: rank 0 commits, and knows the newest checkpoint. After a failure only the
    process that failed counts. If it was killed it wrote nothing, and then the reason that Kubernetes gives is the best one.
    """
    end = cause(ends)
    if end is not None and end.code != Interrupted.exit_code:
        return [] if end.rank is None else [end.rank]
    code = end.code if end else 0
    return sorted(one.rank for one in ends if one.rank is not None and one.code == code)
