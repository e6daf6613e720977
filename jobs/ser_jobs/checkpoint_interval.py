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
        self._asked_at = self._saved_at = clock()
        self.seconds = _SHORTEST
        """From the end of the last checkpoint to the next."""

    def due(self) -> bool:
        """Whether it is time to save. The costs count from here, since processes gather their weights before the first of them saves."""
        self._asked_at = self._clock()
        return self._asked_at - self._saved_at >= self.seconds

    def saved(self) -> None:
        """What was due is saved: wait for 50 times as long as it took, but for 10 seconds at least."""
        self._saved_at = self._clock()
        self.seconds = max(_SHORTEST, _SAVINGS_APART * (self._saved_at - self._asked_at))
