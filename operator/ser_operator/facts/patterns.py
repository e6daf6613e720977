"""Whether a value of a SERRun matches a pattern of an allow-list. Values are taken apart first, as those do who use them. Pure."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from ser_core.api.guarded import AllowList
from ser_core.api.spec.resources import EVERY_TAINT
from ser_core.api.values.endpoints import server
from ser_core.api.values.uris import split_hub


def is_allowed(value: str, patterns: Iterable[str], by: AllowList) -> bool:
    """Whether a pattern matches ``value`` and none with ``!`` before it does."""
    given = tuple(patterns)
    forbidden, allowed = ([one.removeprefix("!") for one in given if one.startswith("!") is no] for no in (True, False))
    if by is AllowList.TOLERATIONS and value == EVERY_TAINT and forbidden:
        return False  # it tolerates those too
    if not _any(value, allowed, by):
        return False
    # A hub, for one, takes a name in any case.
    anycase = (value.lower(), [one.lower() for one in forbidden])
    return not any(_any(text, those, by) or _reaches(text, those, by) for text, those in ((value, forbidden), anycase))


def _reaches(uri: str, forbidden: Iterable[str], by: AllowList) -> bool:
    """Whether what ``uri`` names is, holds or lies in what is forbidden, although its letters are others."""
    if by is AllowList.READ and uri.startswith("hf://"):
        return any(_any(uri, [pattern.replace("hf://datasets/", "hf://", 1)], by) for pattern in forbidden)
    if by not in (AllowList.READ, AllowList.WRITE) or not uri.startswith("s3://"):
        return False
    folder = f"s3://{'/'.join(part for part in uri.removeprefix('s3://').split('/') if part not in ('', '.'))}/"
    return any(
        fnmatchcase(folder, pattern) or fnmatchcase(folder[:-1], pattern) or (by is AllowList.READ and _literal(pattern).startswith(folder))
        for pattern in forbidden
    )


def _literal(pattern: str) -> str:
    """What every text that a pattern matches begins with."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _any(value: str, patterns: Iterable[str], by: AllowList) -> bool:
    if by is AllowList.ENDPOINTS:
        return any(_calls(value, pattern) for pattern in patterns)
    forms = {value, f"hf://{split_hub(value)[0]}"} if by is AllowList.READ and value.startswith("hf://") else {value}
    return any(fnmatchcase(form, pattern) for form in forms for pattern in patterns)


def _calls(endpoint: str, pattern: str) -> bool:
    """Whether scheme, host and port are those of the pattern, whose port is the scheme's where it has none; ``*`` is everything."""
    if pattern == "*":
        return True
    called, listed = server(endpoint), server(pattern)
    if called is None or listed is None:
        return False
    same_host = fnmatchcase(called.host, listed.host)
    below = not listed.path or called.path == listed.path or called.path.startswith(f"{listed.path}/")
    return called.scheme == listed.scheme and same_host and listed.port in ("*", called.port) and below
