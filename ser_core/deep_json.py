"""JSON of more levels than Python reads: what is too deep becomes null.

The API server takes ten thousand levels where a schema leaves the inside of an object open. kopf, aiohttp and we read its answers by
`json.loads`, and one such SERRun would end every LIST and every watch of the operator, and the commands of `kubectl ser`.
"""

import json
import re
from typing import Any

LEVELS = 100
"""What is left of what is too deep: more than a SERRun may have, so that it is refused."""
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)


class Decoder(json.JSONDecoder):
    """The standard one, with an end."""

    def decode(self, s: str, *given: Any) -> Any:
        """The value of a text."""
        try:
            return super().decode(s, *given)
        except RecursionError:
            return super().decode(cut(s))


def cut(text: str) -> str:
    """``text`` with null in the place of every object and list that lies deeper than `LEVELS`."""
    kept, level, end = [], 0, 0
    for token in _TOKEN.finditer(text):
        mark = token.group()[0]
        if mark in "{[":
            level += 1
            if level == LEVELS + 1:
                kept.append(text[end : token.start()])
        elif mark in "}]":
            level -= 1
            if level == LEVELS:
                kept.append("null")
                end = token.end()
    return "".join([*kept, text[end:]])


def install() -> None:
    """For all of this process: aiohttp has a reference to `json.loads` itself."""
    json._default_decoder = Decoder()  # type: ignore[attr-defined]
