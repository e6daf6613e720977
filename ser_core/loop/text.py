"""How the planner writes times and messages into the status: whole seconds in UTC, and texts of bounded size."""

import json
import re
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from itertools import accumulate, takewhile

from ser_core.api.status import Time

MESSAGE_BYTES = 512
REASON_LENGTH = 64


def write_time(moment: datetime) -> Time:
    """RFC 3339 in UTC with whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(text: Time) -> datetime:
    """The moment that `write_time` wrote.

    Raises:
        ValueError: It did not: another form, or a year of which durations cannot be counted.
    """
    found = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if not MINYEAR + 100 < found.year < MAXYEAR - 100:
        raise ValueError(f"{text!r} lies at an end of the calendar")
    return found


def lasting(time: float) -> str:
    """A duration of some seconds, in its two largest units."""
    seconds = max(0, int(time))
    for unit, name, smaller, smaller_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name} {seconds % unit // smaller} {smaller_name}"
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def decimals(value: float) -> str:
    """A number with two decimals; one below 0.1 with its first two digits that are not 0, so that it is not shown as 0.00."""
    return f"{value:.2g}" if 0 < abs(value) < 0.1 else f"{value:.2f}"


def clip(message: str, limit: int = MESSAGE_BYTES) -> str:
    """``message`` on one line, cut to ``limit`` bytes as they stand in JSON, so that the size of the status is bounded."""
    line = " ".join("".join(character if character.isprintable() else " " for character in message).split())
    if _json_bytes(line) <= limit:
        return line
    sizes = accumulate(_json_bytes(character) for character in line)
    fits = sum(1 for _ in takewhile(lambda size: size <= limit - 3, sizes))
    end = line.rfind(" ", fits // 2, fits + 1)  # no word is torn, unless it is as long as half the text
    return f"{line[: fits if end < 0 else end]}…"


def as_reason(text: str) -> str:
    """``text`` as a CamelCase reason that Kubernetes accepts in a condition; `Unknown` when nothing is left of it."""
    return re.sub(r"[^A-Za-z0-9]", "", text)[:REASON_LENGTH] or "Unknown"


def _json_bytes(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2
