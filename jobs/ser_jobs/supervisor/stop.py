"""The supervisor is asked to stop: by SIGTERM, or because its time is over: deadline or budget are spent."""

import os
import select
import signal
import time
from typing import Any


class Stop:
    """Knows whether to stop, and wakes the supervisor when a signal comes.

    Args:
        until: When its time is over, on the monotonic clock.
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._terminated = False
        self._bell, self._wakeup = os.pipe()

    @property
    def received(self) -> bool:
        """Whether all processes must end."""
        return self._terminated or time.monotonic() >= self._until

    def install(self) -> None:
        """Take over SIGTERM and SIGCHLD of this process."""
        os.set_blocking(self._bell, False)
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the next signal."""
        select.select([self._bell], [], [], seconds)
        try:
            os.read(self._bell, 4096)
        except BlockingIOError:
            return

    def _take(self, *_: Any) -> None:
        self._terminated = True
