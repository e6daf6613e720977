"""How often a stage saves: so often that little is lost, so seldom that saving takes less than 2 % of the time."""

import time
from collections.abc import Callable

_SHORTEST = 10.0
_SAVINGS_APART = 50.0
_SLOWED_BY = 2.0
"""Seconds by which steps get longer for each second of a processor that an upload takes from them: 1.7 where all were busy."""


class CheckpointInterval:
    """Says when the next checkpoint is due, from what the last one cost.

    Args:
        beside: Seconds of a processor that the last upload took beside the training, which it slows down.
        clock: Seconds that never go back.
    """

    def __init__(self, beside: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._beside = beside
        self._clock = clock
        self._asked_at = self._saved_at = clock()
        self._waiting = 0.0

    @property
    def seconds(self) -> float:
        """From the end of the last checkpoint to the next: 50 times what the last one cost, but 10 seconds at least."""
        return max(_SHORTEST, _SAVINGS_APART * (self._waiting + _SLOWED_BY * self._beside()))

    def due(self) -> bool:
        """Whether it is time to save. The costs count from here, since processes gather their weights before the first of them saves."""
        self._asked_at = self._clock()
        return self._asked_at - self._saved_at >= self.seconds

    def saved(self) -> None:
        """What was due is saved, or on its way."""
        self._saved_at = self._clock()
        self._waiting = self._saved_at - self._asked_at
