"""What an attempt has taken: the time in which it ran, for the deadline, and the GPU time of all its pods, for the budget.

Only what runs counts. A pod's leg lasts from the start of its container to its end, so waiting in a queue, for a node, for an image, for a
pause to end or for a resumption costs nothing. Time in which several pods run counts once for the deadline; in GPU time each pod counts.

Pods go, and the executor that saw them may start anew. So the status keeps what the live attempt has taken up to a moment (``counted``),
and only what is later is read from the legs: nothing is counted twice, and what was counted stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ser_core.api.status import CountedStatus
from ser_core.loop.observed import ObservedAttempt
from ser_core.loop.text import read_time, write_time

COUNTED_EVERY = timedelta(minutes=10)
"""How much of a running leg may be known to the executor alone."""

_SECONDS_PER_HOUR = 3600

Stretch = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Spent:
    """What was taken.

    Attributes:
        seconds: Time in which any pod ran.
        gpu_hours: GPU time of all pods.
    """

    seconds: float = 0.0
    gpu_hours: float = 0.0


NOTHING = Spent()


def spent(gpus: int, counted: CountedStatus | None, seen: ObservedAttempt | None, now: datetime) -> Spent:
    """What an attempt has taken until ``now``, or until its end.

    Args:
        gpus: Of all its pods together.
        counted: What the status keeps of it.
        seen: What the executor shows of it; None: nothing more.
        now: An end that a pod's clock puts later is believed.
    """
    ends = [leg.end for leg in seen.legs if leg.end is not None] if seen is not None and seen.state != "running" else []
    return _until(gpus, counted, seen, max((now, *ends)))


def count(gpus: int, counted: CountedStatus | None, seen: ObservedAttempt, now: datetime) -> CountedStatus | None:
    """What the status keeps of a running attempt: what its pods that are gone have taken, and the rest when that is due."""
    known = _moment(counted)
    running = [leg.begin if known is None else max(leg.begin, known) for leg in seen.legs if leg.end is None]
    if any(now - since >= COUNTED_EVERY for since in running):
        return count_to(now, gpus, counted, seen)
    gone = [leg.end for leg in seen.legs if leg.gone and leg.end is not None and leg.end <= now]
    last = max(gone, default=None)
    return counted if last is None or (known is not None and last <= known) else count_to(last, gpus, counted, seen)


def count_to(moment: datetime, gpus: int, counted: CountedStatus | None, seen: ObservedAttempt) -> CountedStatus:
    """What the status keeps of a running attempt: all that it has taken until a moment."""
    taken = _until(gpus, counted, seen, moment)
    return CountedStatus(to=write_time(moment), admitted_seconds=taken.seconds, gpu_hours=taken.gpu_hours)


def runs(seen: ObservedAttempt | None) -> bool:
    """Whether a pod of the attempt runs, so that the clock does."""
    return seen is not None and seen.state == "running" and any(leg.end is None for leg in seen.legs)


def _until(gpus: int, counted: CountedStatus | None, seen: ObservedAttempt | None, moment: datetime) -> Spent:
    before = NOTHING if counted is None else Spent(counted.admitted_seconds, counted.gpu_hours)
    if seen is None:
        return before
    known = _moment(counted)
    stretches = [
        (leg.begin if known is None else max(leg.begin, known), moment if leg.end is None else min(leg.end, moment)) for leg in seen.legs
    ]
    hours = gpus / seen.pods * sum(map(_seconds, stretches)) / _SECONDS_PER_HOUR
    return Spent(round(before.seconds + _covered(stretches), 3), round(before.gpu_hours + hours, 6))


def _moment(counted: CountedStatus | None) -> datetime | None:
    return None if counted is None else read_time(counted.to)


def _covered(stretches: Iterable[Stretch]) -> float:
    """Seconds in at least one of the stretches."""
    total, covered_to = 0.0, datetime.min.replace(tzinfo=UTC)
    for begin, end in sorted(stretches):
        total += _seconds((max(begin, covered_to), end))
        covered_to = max(covered_to, end)
    return total


def _seconds(stretch: Stretch) -> float:
    begin, end = stretch
    return max(0.0, (end - begin).total_seconds())
