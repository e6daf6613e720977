"""How often a stage saves: often enough to lose little work, and rarely enough to spend less than 2 % of the time on it."""

import time
from collections.abc import Callable

_SHORTEST = 10.0
_SAVINGS_APART = 50.0
_SLOWED_BY = 2.0
"""Seconds by which an upload delays the training for each second of processor time that it takes. With all processors busy it was 1.7."""


class CheckpointInterval:
    """Decides when the next checkpoint is due, from the cost of the last one.

    Args:
        beside: Processor seconds of the last upload, which ran beside the training and slowed it down.
        clock: Seconds that never go back.
    """

    def __init__(self, beside: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._beside = beside
        self._clock = clock
        self._asked_at = self._saved_at = clock()
        self._waiting = 0.0

    @property
    def seconds(self) -> float:
        """From the end of the last checkpoint to the next one: 50 times the cost of the last one, but at least 10 seconds."""
        return max(_SHORTEST, _SAVINGS_APART * (self._waiting + _SLOWED_BY * self._beside()))

    def due(self) -> bool:
        """Whether it is time to save. The cost counts from here, since an engine copies the weights before they are saved."""
        self._asked_at = self._clock()
        return self._asked_at - self._saved_at >= self.seconds

    def saved(self) -> None:
        """The checkpoint is saved, or its upload has begun."""
        self._saved_at = self._clock()
        self._waiting = self._saved_at - self._asked_at
