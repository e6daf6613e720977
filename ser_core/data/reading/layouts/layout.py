"""A layout: the columns of a file that belong together, and how they become those of a form (`formats`)."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ser_core.data.reading.files.rows import RowError
from ser_core.data.reading.formats import Form
from ser_core.data.reading.labels import TIE

Fields = Mapping[str, Any]
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d{1,2}")
"""With three digits behind it, it may stand between thousands."""


@dataclass(frozen=True, slots=True)
class Strength:
    """A number that says how strong a preference is."""

    key: str
    """Of ``columns``."""
    reason: str
    """Why a row is dropped whose number is another one."""
    least: float
    most: float
    """What is above is mostly a column that means something else."""

    def takes(self, number: float) -> bool:
        """Whether it may be this number."""
        return self.least <= number <= self.most


WEIGHT = Strength("weight", "BadWeight", 1e-9, 1e9)
"""How much a pair counts beside others: what is further apart no longer adds up."""
MARGIN = Strength("margin", "BadMargin", 0.0, 100.0)
"""What the loss subtracts from the difference of the pair's scores, in logits."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns that belong together, and what is made of them."""

    name: str
    """The set that is known for it, for messages."""
    columns: frozenset[str]
    """All must be there, or it is another layout."""
    form: Form
    pairs: Callable[[Fields], list[dict[str, Any]]]
    """The columns of the form, for each pair of a row. Raises `RowError`."""
    also: frozenset[str] = frozenset()
    """Columns that are used where they are there."""
    id: str = "id"
    """The column with a row's own name; empty where there is none."""
    makes_one_pair: bool = True
    weight: Callable[[Fields], float | None] | None = None
    """How much the row's pair counts beside others; None: all count alike. Raises `RowError`."""
    margin: Callable[[Fields], float | None] | None = None
    """The margin of the row's pair; None: none has one. Raises `RowError`."""
    by_scores: bool = False
    """Whether two scores of a row say which answer is better: then it may always be the same one."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Column of the file by column of the form, where the layout does nothing but rename."""

    @property
    def used(self) -> frozenset[str]:
        """Every column that is read, where it is there."""
        return self.columns | self.also


def renamed(fields: Fields, names: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a form, by the column of the row that each stands in; what the row does not have is left out."""
    return {name: fields[column] for name, column in names.items() if column in fields}


def by_scores(first: str, second: str) -> Callable[[Fields], Any]:
    """Which of two answers has the higher score: 1, 2 or `TIE`; None when a score is unknown."""

    def better(fields: Fields) -> Any:
        one, other = number(fields, first), number(fields, second)
        return None if one is None or other is None else TIE if one == other else 1 if one > other else 2

    return better


def strength_in(column: str, kind: Strength) -> Callable[[Fields], float | None]:
    """The strength that a column holds; None where it holds none. Raises `RowError` where it is no usable number."""

    def strength(fields: Fields) -> float | None:
        value = fields.get(column)
        if value is None or value == "":
            return None
        return _usable(_as_number(value), f"{column} is {str(value)[:20]!r}", kind)

    return strength


def strength_by_scores(first: str, second: str, kind: Strength) -> Callable[[Fields], float | None]:
    """The difference of two scores; None for a tie, and where one is unknown."""

    def strength(fields: Fields) -> float | None:
        one, other = number(fields, first), number(fields, second)
        if one is None or other is None or one == other or not math.isfinite(one - other):
            return None
        return _usable(abs(one - other), f"{first} and {second} differ by {abs(one - other):g}", kind)

    return strength


def _usable(found: float, what: str, kind: Strength) -> float:
    if not kind.takes(found):
        raise RowError(kind.reason, f"{what}, expected a number from {kind.least:g} to {kind.most:g}")
    return found


def number(fields: Fields, column: str) -> float | None:
    """The number in a column; None where there is none. Raises `RowError` ``BadLabel`` for anything else."""
    value = fields.get(column)
    if value is None or value == "":
        return None
    found = _as_number(value)
    if math.isnan(found):
        raise RowError("BadLabel", f"{column} is {str(value)[:20]!r}, expected a number")
    return found


def _as_number(value: Any) -> float:
    """NaN where it is none, or a whole number beyond all that are computed with."""
    try:
        if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value):
            return float(value.replace(",", "."))
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
