"""Texts that others have written, as a terminal may see them: no character moves the cursor, hides text or turns its direction. Pure."""

import re

_COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""C0 and C1 controls but tab and newline, Unicode's line ends and directions, annotations and tags."""


def shown(text: str) -> str:
    """``text`` with every character that a terminal obeys written out, as JSON does: ``\\u001b``."""
    return _COMMANDS.sub(_written_out, text)


def shown_line(text: str) -> str:
    """The same of a text that is one line."""
    return shown(text).replace("\n", "\\u000a")


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("utf-16-be").hex("_", 2).replace("_", "\\u").join(("\\u", ""))
