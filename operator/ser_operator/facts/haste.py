"""How soon a run is reconciled after a change of one of its objects. Pure.

A stage changes its Job, its pod and its run a dozen times, and two of these changes matter. A reconcile waits a moment for the others
and then sees all of them at once. With hundreds of runs this leaves time for the runs whose Job has ended.
"""

from enum import Enum

from ser_operator.facts.kept import Kind
from ser_operator.facts.reading import Object, at, state_of

SOON_SECONDS = 1.0
"""How long changes wait for each other."""


class Haste(Enum):
    """When to reconcile."""

    FIRST = "before all others"
    NOW = "in turn"
    SOON = "together with what changes within `SOON_SECONDS`"


def haste(kind: Kind, thing: Object, *, gone: bool) -> Haste:
    """Of a changed object.

    Args:
        kind: Its kind.
        thing: The object; its last version if it is gone.
        gone: Whether it has been deleted.
    """
    if kind == "Job" and gone != (state_of(thing) != "running"):
        return Haste.FIRST  # its devices are free, or soon will be; one that goes after its end has freed them already
    if kind == "SERRun" and at(thing, "metadata").get("generation") != at(thing, "status").get("observedGeneration"):
        return Haste.NOW  # somebody waits for an answer
    return Haste.SOON
