"""How long a process may show no sign of life before it counts as hung. Pure: the caller gives the time and the signs."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from ser_jobs.telemetry.heartbeat import Sign

STEPS_MISSED = 3
"""A step may take this many times the median step."""
_STEPS_TO_BELIEVE = 2
"""After that many steps since the last silent work, the next is expected soon. The first step is slow: libraries set themselves up."""
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    """The shortest times that a process may be silent, in seconds.

    Attributes:
        step: Between two steps.
        silent: For work without steps.
    """

    step: float = 60
    silent: float = 1800


@dataclass(frozen=True, slots=True)
class Silence:
    """The time since a process has shown a sign of life; in seconds."""

    lasted: float
    allowed: float
    phase: str

    @property
    def too_long(self) -> bool:
        """Whether the process counts as hung."""
        return self.lasted > self.allowed


class SilenceWatch:
    """Decides whether one process hangs.

    Args:
        bounds: The shortest times that it may be silent.
        now: Seconds of a clock that never goes back, as for every method.
    """

    def __init__(self, bounds: Bounds, now: float) -> None:
        self._bounds = bounds
        self._sign = Sign()
        self._since = now
        self._steps: deque[float] = deque(maxlen=_REMEMBERED)

    def see(self, sign: Sign | None, now: float) -> None:
        """Take in the newest sign of life. None, or the same sign as before, changes nothing."""
        if sign is None or sign.number == self._sign.number:
            return
        steps = sign.steps - self._sign.steps
        if self._sign.steps and steps > 0:
            self._steps.append((now - self._since) / steps)
        self._sign, self._since = sign, now

    def allowed(self) -> float:
        """Seconds that may pass after the newest sign."""
        if self._sign.steps < _STEPS_TO_BELIEVE:
            return self._bounds.silent
        return max(self._bounds.step, STEPS_MISSED * _median(self._steps)) if self._steps else self._bounds.step

    def silence(self, now: float) -> Silence:
        """The time since the newest sign."""
        phase = "between two steps" if self._sign.steps >= _STEPS_TO_BELIEVE else self._sign.phase
        return Silence(now - self._since, self.allowed(), phase)


def _median(values: Collection[float]) -> float:
    return sorted(values)[len(values) // 2]  # statistics.median would cost a tenth of the supervisor's start
