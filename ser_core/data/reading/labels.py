"""What a label says: which of two answers is the better one."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

TIE = "tie"
"""The label of two answers of which none is better."""
_LABELS: Mapping[Any, int] = {1: 1, 2: 2, TIE: 0, "tie (bothbad)": 0, "both_bad": 0}
"""Their meaning; words without letter case and white space at both ends. The last two are the arena's."""
_LETTER = re.compile(r"(?:(?:model|response|answer|assistant)[ _]?)?([ab])")
"""A label that is one, such as the arena's ``model_a``."""
_SIDES = ("left", "right")
"""Label Studio's words for the first and the second answer."""
_AS_JSON = re.compile(r'\s*(?:\[\s*"([^"\\]*)"\s*\]|\{\s*"selected"\s*:\s*"([^"\\]*)"\s*\})\s*')
"""What `unwrapped` takes, in the cell of a CSV."""


def unwrapped(value: Any) -> Any:
    """A label that stands alone in a list, as Argilla writes it, or under Label Studio's ``selected``; any other value as it is."""
    if isinstance(value, str) and (cell := _AS_JSON.fullmatch(value)) is not None:
        return cell[1] if cell[1] is not None else cell[2]
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    return value["selected"] if isinstance(value, dict) and value.keys() == {"selected"} else value


def meaning_of(label: Any, answers: Sequence[str]) -> int | None:
    """1 or 2, the better answer; 0 for a tie; None when the label is none.

    Args:
        label: As `unwrapped` gives it.
        answers: The columns of the two answers.
    """
    if isinstance(label, str):
        return _of_text(label.strip().casefold(), [answer.casefold() for answer in answers])
    return _LABELS.get(label) if isinstance(label, int | float | Decimal) and not isinstance(label, bool) else None


def _of_text(text: str, answers: Sequence[str]) -> int | None:
    """Of the name of the better answer's column, a word of `_LABELS`, a side, or a letter."""
    if text in answers:
        return answers.index(text) + 1
    first, second = answers
    if text in _SIDES:
        return _turned(_SIDES.index(text) + 1, "right" in first and first.replace("right", "left") == second)
    if (letter := _LETTER.fullmatch(text)) is not None:  # mistral_7b and vicuna end so by chance
        return _turned("ab".index(letter[1]) + 1, first[:-1] == second[:-1] and (first[-1:], second[-1:]) == ("b", "a"))
    with contextlib.suppress(ValueError):
        return _LABELS.get(float(text))
    return _LABELS.get(text)


def _turned(better: int, turned: bool) -> int:
    """The first is the second where the columns' own names say that they stand in the other order."""
    return 3 - better if turned else better
