"""A console on which nobody's text is a command."""

import errno
import os
from collections.abc import Iterable
from typing import NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ser_core.shown import shown


class SafeConsole(Console):
    """A console that writes out what a terminal would obey, wherever in a table, a bar or a message it stands."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, with what comes from texts made harmless; rich's own control codes are no texts."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))

    def on_broken_pipe(self) -> NoReturn:
        """Leave it to the command to end: rich would, as after a failure."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
