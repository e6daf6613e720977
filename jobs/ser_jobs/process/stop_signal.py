"""What SIGTERM means to a stage. In a pod the supervisor receives it first and passes it on (`ser_jobs.supervisor`)."""

import signal
from types import FrameType

from ser_core.errors import Interrupted


class StopSignal:
    """SIGTERM, as the stage body sees it: a flag for a stage that saves checkpoints; any other stage raises `Interrupted` at once."""

    def __init__(self, *, raises: bool) -> None:
        self._raises = raises
        self._received = False

    def install(self) -> None:
        """Take over SIGTERM of this process."""
        signal.signal(signal.SIGTERM, self._handle)

    def over(self) -> None:
        """The result is known: from now on SIGTERM raises nothing, since what is left to do is short."""
        self._raises = False

    def received(self) -> bool:
        """Whether the process was asked to stop."""
        return self._received

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        first, self._received = not self._received, True
        if self._raises and first:
            raise Interrupted("stopped by SIGTERM", hint="the stage starts again from its inputs")
