"""What was seen of one live attempt beside its Job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ser_core.loop.observed import Progress, Waiting
from ser_operator.facts.reading import Object


@dataclass(frozen=True, slots=True)
class Glance:
    """What was seen of one attempt."""

    waiting: Waiting | None = None
    progress: Progress | None = None
    seen_at: datetime | None = None
    """Last time that something was asked for."""
    events: Sequence[Object] = ()
    queue: Waiting | None = None
    """What its queue said of it last; None: nothing yet, so that it is asked again at the next look."""


NO_GLANCE = Glance()
"""Nothing was seen."""
