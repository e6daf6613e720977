"""A SERRun as the cache holds it: what is asked of all runs at once, and the rest, which for an ended run is packed.

A status is 10 KB as text and 40 KB as Python objects. Of ten thousand runs that have ended, hardly one is ever looked at again.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ser_core.api.status import TERMINAL
from ser_operator.facts.reading import Object, at, conditions
from ser_operator.facts.serruns.read_run import INVALID

_FAST = 1
"""Level of zlib: a fifth of the size in a fifth of a millisecond."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownRun:
    """One version of a run; another version is another object."""

    phase: str
    finished_at: str
    """Empty while it goes on."""
    is_seen: bool
    """Whether the spec that it has now is the one that its status speaks of."""
    is_misread: bool
    """Whether it has failed since its spec could not be read, which an operator of another version may."""
    _body: Object | bytes

    @property
    def has_ended(self) -> bool:
        """Whether nothing happens to it any more unless its spec changes."""
        return self.phase in TERMINAL and bool(self.finished_at)

    def body(self) -> Object:
        """All that is kept of it."""
        if not isinstance(self._body, bytes):
            return self._body
        found: Mapping[str, Any] = json.loads(zlib.decompress(self._body))
        return found


def known_run(body: Object) -> KnownRun:
    """The run that ``body`` holds, as `kept` has cut it."""
    status = at(body, "status")
    run = KnownRun(
        phase=str(status.get("phase") or ""),
        finished_at=str(status.get("finishedAt") or ""),
        is_seen=at(body, "metadata").get("generation") == status.get("observedGeneration"),
        is_misread=any((one.get("type"), one.get("reason")) == ("Failed", INVALID) for one in conditions(body)),
        _body=body,
    )
    if not run.has_ended:
        return run
    try:
        return replace(run, _body=zlib.compress(json.dumps(body).encode(), _FAST))
    except RecursionError:  # a podTemplate of ten thousand levels, for which it was refused
        return run
