"""The rows that `ser score` reads: pairs in any of the preference formats, or single answers, from a file or standard input."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ser_core.data.preparing.text import clean, is_usable
from ser_core.data.reading.formats import Form, find_form, to_pair
from ser_core.data.reading.json_rows import parse_object
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
    form = _form(first, file) if isinstance(first, Row) else None
    for row in chain([first], rows):
        read = row if isinstance(row, BadRow) else _to_score_row(row, form)
        if isinstance(read, BadRow):
            what = f"{_shown(file)}, line {read.line}: {read.detail}"
            raise DataError(what, reason=read.reason, hint="repair or remove the row")
        yield read


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


def _form(row: Row, file: str) -> Form | None:
    """The form of pairs; None for single answers."""
    if {"prompt", "answer"} <= row.fields.keys():
        return None
    try:
        return find_form(row.fields, _shown(file), labels_needed=False)
    except DataError as error:
        raise DataError(error.message, reason=error.reason, hint=f"{error.hint}; or prompt, answer for single answers") from error


def _to_score_row(row: Row, form: Form | None) -> ScoreRow | BadRow:
    try:
        prompt, answers, better = _texts(row, form)
    except RowError as error:
        return error.at(row.file, row.line)
    return ScoreRow(row.line, row.fields.get("id"), clean(prompt), tuple(map(clean, answers)), better)


def _texts(row: Row, form: Form | None) -> tuple[str, tuple[str, ...], int | None]:
    if form is None:
        answer = row.fields.get("answer")
        prompt = row.fields.get("prompt")
        if not isinstance(prompt, str) or not isinstance(answer, str):
            raise RowError("NotText", "prompt and answer must be text")
        answers: tuple[str, ...] = (answer,)
        better = None
    else:
        pair = to_pair(row.fields, form)
        prompt, answers, better = pair.prompt, (pair.answer_1, pair.answer_2), pair.better
    if not all(map(is_usable, (prompt, *answers))):
        raise RowError("InvalidUnicode", "a lone surrogate or a NUL character")
    return prompt, answers, better


def _shown(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file
