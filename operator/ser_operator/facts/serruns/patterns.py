"""Whether a value of a SERRun matches a pattern of an allow-list. Values are taken apart first, as those do who use them. Pure."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import unquote

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


def _reaches(value: str, forbidden: Iterable[str], by: AllowList) -> bool:
    """Whether what ``value`` names is, holds or lies in what is forbidden, although its letters are others."""
    if by is AllowList.NODE_SELECTORS and value.endswith("=*"):
        return any(_is_of_label(value.removesuffix("=*"), pattern) for pattern in forbidden)
    if by is AllowList.READ and value.startswith("hf://"):
        return any(_any(value, [pattern.replace("hf://datasets/", "hf://", 1)], by) for pattern in forbidden)
    if by not in (AllowList.READ, AllowList.WRITE) or not value.startswith("s3://"):
        return False
    folder = f"s3://{'/'.join(part for part in value.removeprefix('s3://').split('/') if part not in ('', '.'))}/"
    return any(
        fnmatchcase(folder, pattern) or fnmatchcase(folder[:-1], pattern) or (by is AllowList.READ and _literal(pattern).startswith(folder))
        for pattern in forbidden
    )


def _is_of_label(label: str, pattern: str) -> bool:
    """Whether ``pattern`` may match a value of ``label``, written ``label=value``."""
    key, equals, _ = pattern.partition("=")
    return fnmatchcase(label, key) if equals else f"{label}=".startswith(_literal(pattern))


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
    return called.scheme == listed.scheme and same_host and listed.port in ("*", called.port) and _is_below(called.path, listed.path)


def _is_below(path: str, listed: str) -> bool:
    """Whether a path is, or lies in, the listed one; a client may resolve ``..`` before it calls."""
    return not listed or (f"{path}/".startswith(f"{listed}/") and ".." not in unquote(path).split("/"))
