"""Rows of CSV files, with commas or other signs between their cells."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain

from ser_core.data.reading.files.rows import MAX_ROW_BYTES, BadRow, DataFile, Row, first_repeated
from ser_core.data.reading.files.streams import BYTE_ORDER_MARK, Position, read_lines
from ser_core.data.taking import take
from ser_core.errors import DataError

SEPARATORS = ",;\t|"
"""Semicolons are what spreadsheets write where numbers have decimal commas."""
_HEAD_LINES = 20
"""Lines that tell whether spaces stand behind the separators."""
_CELL_OF_LINES = "a cell with a CR needs quotes around it: write the file with all cells quoted, or as .jsonl"


def read_csv(file: DataFile, position: Position, notes: set[str]) -> Iterator[Row | BadRow]:
    """Every row of a CSV; one with other cells than columns comes as `BadRow`. Arguments as of `readers.read_rows`.

    Raises:
        DataError: ``UnknownFormat``, ``DuplicateColumn``, ``MalformedCsv`` or ``TooLarge``; with the line.
    """
    csv.field_size_limit(MAX_ROW_BYTES)  # the default of 128 KiB is shorter than a long dialogue
    lines = _csv_lines(file, position, notes)
    first = next(lines)
    separator, head = _separator_of(first), take(lines, _HEAD_LINES, len)
    reader = csv.reader(chain([first], head, lines), delimiter=separator, strict=True, skipinitialspace=_is_spaced(first, head, separator))
    try:
        named = next(reader)
        header = [name.strip() for name in named]
        if (twice := first_repeated(filter(None, header))) is not None:  # a spreadsheet ends lines with columns of no name
            raise DataError(
                f"{file.name}, line 1: a column name occurs twice: {twice!r}", reason="DuplicateColumn", hint="rename one of them"
            )
        _refuse_header(file, header)
        names = sorted(map(str.casefold, header))
        begins = reader.line_num + 1
        for cells in reader:
            # the empty rows a spreadsheet ends with, or another file's first line where files were put together
            if not any(map(str.strip, cells)) or cells == named:
                pass
            elif _are_names(cells, names):
                raise DataError(
                    f"{file.name}, line {begins}: columns are named again, in another order or otherwise written than in line 1",
                    reason="MalformedCsv",
                    hint="write what comes from there on into a file of its own",
                )
            elif len(cells) == len(header):
                yield Row(file.name, begins, dict(zip(header, cells, strict=True)))
            else:
                yield BadRow(file.name, begins, "MalformedRow", f"{len(cells)} cells under {len(header)} columns")
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{file.name}, line {reader.line_num}: {error}",
            reason="MalformedCsv",
            hint=_CELL_OF_LINES if "new-line" in str(error) else 'a quote is not closed or not doubled: write " inside a cell as ""',
        ) from error


def _separator_of(line: str) -> str:
    """The sign that makes the most cells of a CSV's first line."""
    return max(SEPARATORS, key=lambda sign: len(next(csv.reader([line], delimiter=sign))))


def _is_spaced(first: str, head: Sequence[str], separator: str) -> bool:
    """Whether a space stands behind each separator: it would be a part of every cell, and quotes behind it text."""
    named, *_ = csv.reader([first], delimiter=separator)
    if f"{separator} " in first and any(name.startswith(" ") for name in named[1:]):
        return True
    try:
        found = any(re.match(' +"', cell) for cells in csv.reader(head, delimiter=separator) for cell in cells[1:])
        return found and all(len(cells) in (0, len(named)) for cells in _whole_rows(head, separator))
    except csv.Error:
        return False


def _whole_rows(head: Sequence[str], separator: str) -> Iterator[list[str]]:
    """The first rows as they are without the spaces; not one whose end lies behind these lines."""
    try:
        yield from csv.reader(head, delimiter=separator, strict=True, skipinitialspace=True)
    except csv.Error as error:
        if "unexpected end" not in str(error):
            raise


def _are_names(cells: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a row has the names of the columns, in whatever order, with whatever spaces and letters."""
    longest = 2 * max(map(len, names)) + 1
    return len(cells) == len(names) and max(map(len, cells)) <= longest and sorted(cell.strip().casefold() for cell in cells) == names


def _refuse_header(file: DataFile, header: list[str]) -> None:
    """Refuse a first line that does not name columns."""
    if not header:
        raise DataError(f"{file.name}, line 1: empty, where columns are named", reason="UnknownFormat", hint="remove the first line")
    if header[0].lower().startswith("sep="):
        raise DataError(f"{file.name}, line 1: {header[0]}, which Excel alone reads", reason="UnknownFormat", hint="remove the first line")


def _csv_lines(file: DataFile, position: Position, notes: set[str]) -> Iterator[str]:
    for number, line in enumerate(read_lines(file, position, notes), 1):
        if line is None:
            raise DataError(
                f"{file.name}, line {number} is longer than {MAX_ROW_BYTES >> 20} MiB", reason="TooLarge", hint="split or remove the row"
            )
        yield line.removeprefix(BYTE_ORDER_MARK) + "\n"
