"""How often a stage saves: so often that little is lost, so seldom that saving takes less than 2 % of the time."""

import time
from collections.abc import Callable

_SHORTEST = 10.0
_SAVINGS_APART = 50.0


class CheckpointInterval:
    """Says when the next checkpoint is due, from what the last one cost.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._saved_at = clock()
        self._interval = _SHORTEST

    def due(self) -> bool:
        """Whether it is time to save."""
        return self._clock() - self._saved_at >= self._interval

    def measure(self, save: Callable[[], None]) -> None:
        """Save, and wait from its end for 50 times as long as it took, but for 10 seconds at least."""
        started = self._clock()
        save()
        self._saved_at = self._clock()
        self._interval = max(_SHORTEST, _SAVINGS_APART * (self._saved_at - started))
