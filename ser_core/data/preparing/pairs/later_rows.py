"""What comes after the first rows of a file, from which its form is learnt: columns that these did not have, or held nothing in."""

from collections.abc import Callable, Collection, Iterator, Sequence

from ser_core.data.preparing.pairs.unused import is_looked_at, makes_pairs
from ser_core.data.reading.dialogues.messages import holds_something
from ser_core.data.reading.files.rows import BadRow, Row
from ser_core.data.reading.formats import Form
from ser_core.data.reading.layouts.finding import USED_COLUMNS, find_layout
from ser_core.data.reading.layouts.layout import Layout
from ser_core.errors import DataError

ROWS_OF_A_COLUMN = 100
"""Rows in which an unused column is looked at, of those in which it holds something."""
_MOST_NAMES = 10_000
"""Column names that are remembered."""


class LaterRows:
    """Looks at rows as they are read. A row with nothing new costs one comparison of its keys.

    Args:
        first: The first rows, which were looked at.
        columns: Of the file, as far as these tell.
        used: Columns that are read.
        layout: How rows become pairs; None where they do not.
        refuse: Refuses a row with something that looks like a part of the question and is not used; also told the file's columns.
        line: What names the columns that the layout reads, or nothing where that cannot be said.
    """

    def __init__(
        self,
        first: Sequence[Row],
        columns: Collection[str],
        used: Collection[str],
        layout: Layout | None,
        refuse: Callable[[Row, Collection[str]], None],
        line: str,
    ) -> None:
        self._known = set(columns)
        self._first, self._used, self._layout, self._refuse, self._line = first, used, layout, refuse, line
        self._left: dict[str, int] = {}
        self._watch(columns)
        for row in first:
            self._count(self._held(row))

    def checked(self, rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
        """The same rows.

        Raises:
            DataError: ``UnknownColumns``, or as ``refuse`` does.
        """
        for row in rows:
            if isinstance(row, Row):
                self._look(row)
            yield row

    def _look(self, row: Row) -> None:
        if not row.fields.keys() <= self._known:
            self._learn(row)
        if self._left and (held := self._held(row)):
            self._refuse(row, self._known)
            self._count(held)

    def _learn(self, row: Row) -> None:
        new = [name for name in row.fields if name not in self._known]
        told = [name for name in new if name in USED_COLUMNS and holds_something(row.fields[name])]
        if told and self._layout is not None:
            self._refuse_another_form(row, told, self._layout)
        self._watch(new)
        self._known.update(told)
        if len(self._known) < _MOST_NAMES:
            self._known.update(name for name in new if name not in USED_COLUMNS)

    def _refuse_another_form(self, row: Row, told: Sequence[str], layout: Layout) -> None:
        found = find_layout(self._known.union(told, layout.columns), row.file, None, labels_needed=False)
        if found is not layout:
            known = find_layout(self._known, row.file, None, labels_needed=False)
            before, now = (f"{one.form}{f' as of {one.name}' if one.name else ''}" for one in (known, found))
            raise DataError(
                f"{row.file}, line {row.line}: with {', '.join(map(repr, told))} it is a row of {now}; the rows before are {before}",
                reason="UnknownColumns",
                hint=self._hint(told, found),
            )

    def _hint(self, told: Sequence[str], found: Layout) -> str:
        hint = "write a file for each form"
        if self._line:
            hint += f"; or, if the pairs do not need {' and '.join(map(repr, told))}, write {self._line}"
        if any(makes_pairs(row, found) for row in self._first):
            hint += "; or, if all rows are of the later form, put a row with all its columns first"
        return hint

    def _watch(self, columns: Collection[str]) -> None:
        for name in columns:
            if name not in self._used and is_looked_at(name, guessed=self._layout is not None and self._layout.form is Form.IMPLICIT):
                self._left.setdefault(name, ROWS_OF_A_COLUMN)

    def _held(self, row: Row) -> list[str]:
        """The columns left to look at in which the row holds something."""
        return [name for name in self._left if (value := row.fields.get(name)) and holds_something(value)]

    def _count(self, held: Collection[str]) -> None:
        for name in held:
            self._left[name] -= 1
            if not self._left[name]:
                del self._left[name]
