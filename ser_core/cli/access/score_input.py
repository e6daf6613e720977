"""The rows that `ser score` reads: pairs in any of the preference formats, or single answers, from a file or standard input."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ser_core.data.preparing.text import clean, is_usable
from ser_core.data.reading.dialogues import plain_prompt
from ser_core.data.reading.formats import ACCEPTED
from ser_core.data.reading.json_rows import parse_object
from ser_core.data.reading.layouts.finding import find_layout, read_pairs
from ser_core.data.reading.layouts.layout import Layout
from ser_core.data.reading.readers import detect, read_rows
from ser_core.data.reading.rows import BadRow, DataFile, Row, RowError
from ser_core.errors import DataError

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row to score, its texts cleaned as `prepare` cleans them, so that equal texts get equal scores."""

    line: int
    name: Any
    """The row's own ``id``, if it has one."""
    prompt: str
    answers: tuple[str, ...]
    """One answer, or the two of a pair."""
    better: int | None
    """The label of a pair: 1 or 2; None when there is none."""


def read_score_rows(file: str) -> Iterator[ScoreRow]:
    """Stream the rows of ``file``; ``-`` is standard input in JSON Lines.

    Every row becomes a result, so nothing is dropped here.

    Raises:
        DataError: The file or a row cannot be used; with file and line.
    """
    rows = iter(_standard_input() if file == STANDARD_INPUT else _rows_of(Path(file)))
    first = next(rows, None)
    if first is None:
        raise DataError(f"{_shown(file)} holds no rows", reason="DataEmpty", hint="give one JSON object a line")
    layout = _layout(first, file) if isinstance(first, Row) else None
    for row in chain([first], rows):
        read = row if isinstance(row, BadRow) else _to_score_rows(row, layout)
        if isinstance(read, BadRow):
            what = f"{_shown(file)}, line {read.line}: {read.detail}"
            raise DataError(what, reason=read.reason, hint="repair or remove the row")
        yield from read


def _rows_of(path: Path) -> Iterable[Row | BadRow]:
    if not path.is_file():
        raise DataError(f"{path} is no file", reason="DataNotFound", hint="name a file, or - for standard input")
    file = DataFile(path.name, path)
    return read_rows(file, detect(file), lambda _position: None, set())


def _standard_input() -> Iterator[Row | BadRow]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            yield Row("standard input", number, parse_object(line.rstrip(b"\r\n").decode()))
        except UnicodeDecodeError:
            yield BadRow("standard input", number, "InvalidEncoding", "the line is not UTF-8")
        except RowError as error:
            yield error.at("standard input", number)


def _layout(row: Row, file: str) -> Layout | None:
    """How pairs are read; None for single answers."""
    if {"prompt", "answer"} <= row.fields.keys():
        return None
    try:
        return find_layout(row.fields, _shown(file), None, labels_needed=False)
    except DataError as error:
        hint = f"rename columns to one of: {ACCEPTED}; or prompt, answer for single answers"
        raise DataError(error.message, reason=error.reason, hint=hint) from error


def _to_score_rows(row: Row, layout: Layout | None) -> list[ScoreRow] | BadRow:
    """A row's one pair or answer; several pairs where its answers are ranked."""
    try:
        return [
            ScoreRow(row.line, row.fields.get("id"), clean(prompt), tuple(map(clean, answers)), better)
            for prompt, answers, better in _texts(row, layout)
        ]
    except RowError as error:
        return error.at(row.file, row.line)


def _texts(row: Row, layout: Layout | None) -> list[tuple[str, tuple[str, ...], int | None]]:
    if layout is None:
        answer = row.fields.get("answer")
        prompt = row.fields.get("prompt")
        if not isinstance(prompt, str) or not isinstance(answer, str):
            raise RowError("NotText", "prompt and answer must be text")
        found: list[tuple[str, tuple[str, ...], int | None]] = [(plain_prompt(prompt), (answer,), None)]
    else:
        found = [(pair.prompt, (pair.answer_1, pair.answer_2), pair.better or None) for pair in read_pairs(row.fields, layout)]
    if not all(is_usable(text) for prompt, answers, _ in found for text in (prompt, *answers)):
        raise RowError("InvalidUnicode", "a lone surrogate or a NUL character")
    return found


def _shown(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file
