"""The prompts of a policy, from a data file of their own."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ser_core.api.spec.policy import PromptColumns, PromptsSpec
from ser_core.counted import counted
from ser_core.data.preparing.pairs.corpus import first_rows
from ser_core.data.preparing.pairs.later_rows import LaterRows
from ser_core.data.preparing.pairs.parts import of_part, open_part
from ser_core.data.preparing.pairs.text import clean, clean_prompt, is_usable, normal_form
from ser_core.data.preparing.pairs.unused import LOOKED_AT, refuse_unused
from ser_core.data.preparing.pairs.validation import Tally, is_marked
from ser_core.data.reading.dialogues.messages import prompt_alone
from ser_core.data.reading.dialogues.transcripts import is_transcript, parse_transcript, with_line_feeds, with_system
from ser_core.data.reading.dialogues.turns import unmarked
from ser_core.data.reading.files.readers import columns_of, detect, read_rows
from ser_core.data.reading.files.rows import BadRow, DataFile, Row, RowError
from ser_core.data.reading.formats import system_of
from ser_core.data.reading.layouts.finding import USED_COLUMNS, find_layout, read_pairs
from ser_core.data.reading.layouts.layout import Layout
from ser_core.data.reading.layouts.writing import columns_line
from ser_core.data.reading.locations import Access
from ser_core.data.reading.sources import Source, other_splits
from ser_core.errors import DataError
from ser_core.store.stages.commit import sha256_of

_FIELD = "policy.prompts"
_COLUMNS = PromptColumns(prompt="prompt", system="system")


@dataclass(frozen=True, slots=True)
class Prompts:
    """Distinct prompts in the order of their files, and how they were read."""

    texts: tuple[str, ...]
    provenance: Mapping[str, Any]
    """URI, commit, files with SHA-256, rows, drops by reason."""
    warnings: tuple[str, ...]


def read_prompts(
    spec: PromptsSpec,
    access: Access,
    folder: Path,
    heldout: Collection[str],
    max_dropped_fraction: float,
    alive: Callable[[], None],
    *,
    turns: bool,
) -> Prompts:
    """Read the prompts to learn on.

    Args:
        spec: Where they are, and in which columns.
        access: How stores and the hub are reached.
        folder: For downloads.
        heldout: Prompts to leave out.
        max_dropped_fraction: Share of unusable rows that is allowed.
        alive: Called often.
        turns: Whether prompts keep the marks of their turns, as a chat template needs them.

    Raises:
        DataError: Too many rows are unusable, or nothing is left.
        SpecError: The hub refuses access.
        StoreError: Store or hub cannot be reached.
    """
    source = open_part(_FIELD, spec, access, folder, alive)
    tally = Tally(_FIELD)
    kept = {normal_form(prompt): "" for prompt in heldout}
    present: set[str] = set()
    for row, prompt in chain.from_iterable(_prompts_of(file, spec, alive, present) for file in source.files):
        tally.rows += 1
        try:
            text = _usable(prompt, turns)
            _check_new(normal := normal_form(text), kept)
            kept[normal] = text
        except RowError as error:
            tally.drop(error.at(row.file, row.line))
    tally.check(max_dropped_fraction)
    _check_system(spec, present)
    texts = tuple(filter(None, kept.values()))
    if not texts:
        message = f"{_FIELD}.uri: {spec.uri} holds no prompt that is not held out"
        raise DataError(message, reason="NoPrompts", hint="give other prompts, or leave the field out")
    return Prompts(texts, _provenance(source, tally), tuple(f"{_FIELD}: {told}" for told in _warnings(source, tally, texts)))


def _warnings(source: Source, tally: Tally, texts: Collection[str]) -> Iterator[str]:
    yield from other_splits(source.left_out)
    yield from (of_part(remark, _FIELD) for remark in source.remarks)
    yield from tally.first_of_each()
    if marked := sum(is_marked(unmarked(text)) for text in texts):
        yield f"{counted(marked, 'prompt')} with special tokens or role markers inside their text, which are read as text"


def _prompts_of(
    file: DataFile, spec: PromptsSpec, alive: Callable[[], None], present: set[str]
) -> Iterator[tuple[Row | BadRow, str | RowError]]:
    """Each row with its prompt, several times where it has several, or with what is wrong; ``present`` gets the columns."""
    container = detect(file)
    columns = columns_of(file, container)
    rows = read_rows(file, container, lambda _: alive(), set(), _wanted(spec, columns))
    head = first_rows(rows)
    sample = [row for row in head if isinstance(row, Row)]
    present.update(columns or ())
    there = columns or dict.fromkeys(name for row in sample for name in row.fields)
    layout = _layout(spec, there, sample, file.name)
    reader = _reader(spec, there, layout)
    if spec.columns is None:
        rows = _refusing(sample, rows, there, layout, reader)
    for row in chain(head, rows):
        present.update(row.fields if isinstance(row, Row) else ())
        try:
            yield from ((row, prompt) for prompt in dict.fromkeys(reader(row)))
        except RowError as error:
            yield row, error


def _wanted(spec: PromptsSpec, there: Collection[str] | None) -> set[str]:
    """Columns that are decoded where the format allows a choice."""
    names = _COLUMNS if spec.columns is None else spec.columns
    named = {name for name in (names.prompt, names.system) if name}
    if spec.columns is not None:
        return named
    return named.union(LOOKED_AT, () if there is not None and names.prompt in there else USED_COLUMNS)


Reader = Callable[[Row | BadRow], list[str]]
"""The prompts of a row, rendered. Raises `RowError`."""


def _layout(spec: PromptsSpec, there: Collection[str], sample: Sequence[Row], file: str) -> Layout | None:
    """How the rows of a file become pairs, where it has pairs and no column of prompts."""
    if spec.columns is None and not any(isinstance(row.fields.get(_COLUMNS.prompt), str | list) for row in sample):
        with contextlib.suppress(DataError):
            return find_layout(there, file, None, labels_needed=False, field=_FIELD)
    return None


def _reader(spec: PromptsSpec, there: Collection[str], layout: Layout | None) -> Reader:
    """How the rows of a file are read: their column with prompts; of pairs that have none, what their answers answer."""
    names = _COLUMNS if spec.columns is None else spec.columns

    def read(row: Row | BadRow) -> list[str]:
        if isinstance(row, BadRow):
            raise RowError(row.reason, row.detail)
        return [_prompt(row, there, names)] if layout is None else [pair.prompt for pair in read_pairs(row.fields, layout)]

    return read


def _refusing(
    sample: Sequence[Row], rows: Iterator[Row | BadRow], there: Collection[str], layout: Layout | None, reader: Reader
) -> Iterator[Row | BadRow]:
    """The rows behind the first ones. All are looked at for something that looks like a part of the question and is not used.

    Raises:
        DataError: ``UnusedColumn`` or ``UnknownColumns``.
    """
    used = layout.used if layout else frozenset(filter(None, (_COLUMNS.prompt, _COLUMNS.system)))
    named = {key: layout.names[key] for key in ("prompt", "system") if layout.names.get(key) in there} if layout else {}

    def refuse(row: Row, known: Collection[str]) -> None:
        refuse_unused(row, used, lambda: reader(row), lambda column: f"say which columns count: {_line(column, row, known)}")

    for row in sample:
        refuse(row, there)
    return LaterRows(sample, there, used, layout, refuse, columns_line(_FIELD, named) if "prompt" in named else "").checked(rows)


def _line(column: str, row: Row, there: Collection[str]) -> str:
    """What to write so that a column is used as system message or prompt; without it where there is another prompt."""
    keys, text = {"prompt": "prompt"}, isinstance(row.fields[column], str)
    if "prompt" not in there:
        return columns_line(_FIELD, {"prompt": column})
    if column.strip().lower().startswith("system") and text:
        return columns_line(_FIELD, keys | {"system": column})
    return f"{columns_line(_FIELD, keys | ({'system': 'system'} if 'system' in there else {}))}, which leaves it out"


def _check_system(spec: PromptsSpec, present: Collection[str]) -> None:
    named = None if spec.columns is None else spec.columns.system
    if named is not None and named not in present:
        there = ", ".join(map(repr, sorted(present)[:20]))
        raise DataError(
            f"{_FIELD}.columns.system: {spec.uri} has the columns {there}, and not {named!r}",
            reason="MissingColumn",
            hint=f"name one that is there in {_FIELD}.columns, or leave system out",
        )


def _prompt(row: Row, columns: Collection[str], names: PromptColumns) -> str:
    value = row.fields.get(names.prompt)
    if value is None:
        there = dict.fromkeys((*columns, *row.fields))
        if there and names.prompt not in there:
            raise RowError("MissingColumn", f"it has no column {names.prompt}, but the columns {', '.join(map(repr, list(there)[:20]))}")
        raise RowError("MissingField", f"{names.prompt} is {'null' if names.prompt in row.fields else 'missing'}")
    if not isinstance(value, str | list):
        raise RowError("NotText", f"{names.prompt} is {type(value).__name__}, expected text or messages")
    said = with_line_feeds(value) if isinstance(value, str) else ""
    if said.startswith("\n\n") and is_transcript(said) and parse_transcript(said)[-1].text:
        raise RowError("BadTurns", f"{names.prompt} is a dialogue that ends with an answer; a prompt ends with the user's turn")
    return with_system(prompt_alone(value), system_of(row.fields, names.system) if names.system else "")


def _usable(prompt: str | RowError, turns: bool) -> str:
    if isinstance(prompt, RowError):
        raise prompt
    text = (clean_prompt if turns else clean)(prompt)
    if not is_usable(text):
        raise RowError("InvalidUnicode", "a lone surrogate or a NUL character")
    if not text:
        raise RowError("EmptyPrompt", "the prompt is empty or white space")
    return text


def _check_new(normal: str, kept: Mapping[str, str]) -> None:
    if normal in kept:
        repeated = bool(kept[normal])
        raise RowError(*("Duplicate", "the prompt occurs twice") if repeated else ("HeldOut", "the prompt is held out"))


def _provenance(source: Source, tally: Tally) -> dict[str, Any]:
    return {
        "uri": source.uri,
        "pinned": source.pinned,
        "files": [{"name": file.name, "bytes": file.path.stat().st_size, "sha256": sha256_of(file.path)} for file in source.files],
        "rows": tally.rows,
        "dropped": dict(sorted(tally.dropped.items())),
    }
