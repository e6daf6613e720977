"""The rows that `ser score` reads: pairs or single answers, from whatever a run reads; standard input is read like a file."""

import shutil
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ser_core.api.spec.data import Columns
from ser_core.data.preparing.pairs.corpus import SAMPLE_ROWS, first_rows
from ser_core.data.preparing.pairs.text import clean, clean_prompt, is_usable
from ser_core.data.preparing.pairs.unused import refuse_unused
from ser_core.data.reading.dialogues.messages import answer_alone, messages_in, prompt_alone
from ser_core.data.reading.dialogues.transcripts import with_system
from ser_core.data.reading.files.json_rows import parse_object
from ser_core.data.reading.files.readers import detect, read_rows
from ser_core.data.reading.files.rows import BadRow, DataFile, Row, RowError
from ser_core.data.reading.formats import ACCEPTED, system_of
from ser_core.data.reading.layouts.finding import find_layout, read_pairs
from ser_core.data.reading.layouts.layout import Layout
from ser_core.data.reading.locations import Access
from ser_core.data.reading.sources import open_source
from ser_core.errors import DataError
from ser_core.store.objects.port import unwatched

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row to score, its texts cleaned as `prepare` cleans them, so that equal texts get equal scores."""

    file: str
    """Name of its file, where there are several."""
    line: int
    name: Any
    """The row's own ``id``, if it has one."""
    prompt: str
    """Its turns marked (`ser_core.data.reading.dialogues`)."""
    answers: tuple[str, ...]
    """One answer, or the two of a pair."""
    better: int | None
    """The label of a pair: 1 or 2; None when there is none."""


def read_score_rows(file: str, columns: Columns | None, access: Access, folder: Path) -> Iterator[ScoreRow]:
    """Stream the rows of ``file``.

    Every row becomes a result, so nothing is dropped here.

    Args:
        file: A file or folder of this machine, or a URI, as a run's data; ``-`` is standard input, whose JSON Lines are read as they come.
        columns: Names of the columns, as the run's specification gives them; where they are not there, others are recognised.
        access: How stores and the hub are reached.
        folder: For downloads, and for standard input that is no JSON Lines.

    Raises:
        DataError: The file or a row cannot be used; with file and line.
        SpecError: The hub refuses access.
        StoreError: Store or hub cannot be reached.
    """
    found = False
    for name, rows, sample in _parts(file, access, folder):
        head = first_rows(rows, sample)
        present = dict.fromkeys(column for row in head if isinstance(row, Row) for column in row.fields)
        layout = _layout(present, name, columns) if present else None
        system = columns.system if columns is not None and columns.system in present else "system"
        for row in head if columns is None else ():
            _refuse_unused(row, layout)
        for row in chain(head, rows):
            found = True
            read = row if isinstance(row, BadRow) else _to_score_rows(row, layout, name, system)
            if isinstance(read, BadRow):
                what = f"{read.file}, line {read.line}: {read.detail}"
                raise DataError(what, reason=read.reason, hint="repair or remove the row")
            yield from read
    if not found:
        raise DataError(f"{_shown(file)} holds no rows", reason="DataEmpty", hint="give one JSON object a line")


def _parts(file: str, access: Access, folder: Path) -> Iterator[tuple[str, Iterator[Row | BadRow], int]]:
    """Of each file: its name where there are several, its rows, and how many rows tell the columns (of a pipe one: no other is awaited)."""
    if file == STANDARD_INPUT:
        yield _standard_input(folder)
        return
    source = open_source(file if "://" in file else f"file://{Path(file).absolute()}", access, folder, unwatched)
    for one in source.files:
        name = one.name if len(source.files) > 1 else ""
        yield name, iter(read_rows(one, detect(one), lambda _position: None, set())), SAMPLE_ROWS


def _standard_input(folder: Path) -> tuple[str, Iterator[Row | BadRow], int]:
    """Its one part, as of `_parts`. JSON Lines are a stream, whose rows are scored as they come; all else becomes a file first."""
    stream, blank = sys.stdin.buffer, 0
    while (first := stream.readline()) and not first.strip():
        blank += 1
    if first.lstrip().startswith(b"{"):
        return "", _json_lines(chain([first], stream), blank + 1), 1
    folder.mkdir(parents=True, exist_ok=True)
    file = DataFile("standard input", folder / "standard-input")
    with file.path.open("wb") as copy:
        copy.write(b"\n" * blank + first)
        shutil.copyfileobj(stream, copy)
    return "", iter(read_rows(file, detect(file, nameless=True), lambda _position: None, set())), SAMPLE_ROWS


def _json_lines(lines: Iterable[bytes], number: int) -> Iterator[Row | BadRow]:
    for line_number, line in enumerate(lines, number):
        if not line.strip():
            continue
        try:
            yield Row("standard input", line_number, parse_object(line.rstrip(b"\r\n").decode()))
        except UnicodeDecodeError:
            yield BadRow("standard input", line_number, "InvalidEncoding", "the line is not UTF-8")
        except RowError as error:
            yield error.at("standard input", line_number)


def _layout(present: Collection[str], name: str, columns: Columns | None) -> Layout | None:
    """How pairs are read; None for single answers."""
    if {"prompt", "answer"} <= set(present):
        return None
    given = columns if columns is not None and set(columns.model_dump(exclude_none=True).values()) <= set(present) else None
    try:
        return find_layout(present, name or "the input", given, labels_needed=False)
    except DataError as error:
        hint = f"rename columns to one of: {ACCEPTED}; or prompt, answer for single answers"
        raise DataError(error.message, reason=error.reason, hint=hint) from error


def _refuse_unused(row: Row | BadRow, layout: Layout | None) -> None:
    """Refuse a row with a part of the question that would not be read; a run that was told which columns count has decided that."""
    if isinstance(row, Row):
        refuse_unused(
            row,
            layout.used if layout else ("prompt", "answer", "system"),
            lambda: [prompt for prompt, *_ in _texts(row, layout, "system")],
            lambda column: f"write it into the prompt, or take {column} out",
        )


def _to_score_rows(row: Row, layout: Layout | None, file: str, system: str) -> list[ScoreRow] | BadRow:
    """A row's one pair or answer; several pairs where its answers are ranked."""
    name = row.fields.get(layout.id if layout else "id")
    try:
        return [
            ScoreRow(file, row.line, name, clean_prompt(prompt), tuple(map(clean, answers)), better)
            for prompt, answers, better in _texts(row, layout, system)
        ]
    except RowError as error:
        return error.at(row.file, row.line)


def _texts(row: Row, layout: Layout | None, system: str) -> list[tuple[str, tuple[str, ...], int | None]]:
    if layout is None:
        for name in ("prompt", "answer"):
            if name not in row.fields:
                raise RowError("MissingColumn", f"{name} is missing")
        prompt, answer = (messages_in(value) or value for value in (row.fields["prompt"], row.fields["answer"]))
        if not isinstance(prompt, str | list) or not isinstance(answer, str | list):
            raise RowError("NotText", "prompt and answer must be text or messages")
        asked = with_system(prompt_alone(prompt), system_of(row.fields, system))
        found: list[tuple[str, tuple[str, ...], int | None]] = [(asked, (answer_alone(answer),), None)]
    else:
        found = [(pair.prompt, (pair.answer_1, pair.answer_2), pair.better or None) for pair in read_pairs(row.fields, layout)]
    if not all(is_usable(text) for prompt, answers, _ in found for text in (prompt, *answers)):
        raise RowError("InvalidUnicode", "a lone surrogate or a NUL character")
    return found


def _shown(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file
