"""The prompts of a policy, from a data file of their own."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_core.api.policy import PromptColumns, PromptsSpec
from ser_core.data.preparing.parts import open_part
from ser_core.data.preparing.text import clean, clean_prompt, is_usable, normal_form
from ser_core.data.preparing.validation import Tally
from ser_core.data.reading.dialogues import prompt_alone, with_system
from ser_core.data.reading.locations import Access
from ser_core.data.reading.readers import columns_of, detect, read_rows
from ser_core.data.reading.rows import BadRow, Row, RowError
from ser_core.data.reading.sources import Source
from ser_core.errors import DataError
from ser_core.store.commit import sha256_of

_FIELD = "policy.prompts"
_COLUMNS = PromptColumns(prompt="prompt", system="system")


@dataclass(frozen=True, slots=True)
class Prompts:
    """Distinct prompts in the order of their files, and how they were read."""

    texts: tuple[str, ...]
    provenance: Mapping[str, Any]
    """URI, commit, files with SHA-256, rows, drops by reason."""


def read_prompts(
    spec: PromptsSpec,
    access: Access,
    folder: Path,
    heldout: Collection[str],
    max_dropped_fraction: float,
    alive: Callable[[], None],
    *,
    turns: bool = False,
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
    names = _COLUMNS if spec.columns is None else spec.columns
    tally = Tally(_FIELD)
    kept = {normal_form(prompt): "" for prompt in heldout}
    present: set[str] = set()
    for row, columns in _rows(source, names, alive):
        tally.rows += 1
        present.update(columns)
        try:
            text = _prompt(row, columns, names, turns)
            normal = normal_form(text)
            _check_new(normal, kept)
        except RowError as error:
            tally.drop(error.at(row.file, row.line))
        else:
            kept[normal] = text
    tally.check(max_dropped_fraction)
    _check_system(spec, present)
    texts = tuple(filter(None, kept.values()))
    if not texts:
        message = f"{_FIELD}.uri: {spec.uri} holds no prompt that is not held out"
        raise DataError(message, reason="NoPrompts", hint="give other prompts, or leave the field out")
    return Prompts(texts, _provenance(source, tally))


def _check_system(spec: PromptsSpec, present: Collection[str]) -> None:
    named = None if spec.columns is None else spec.columns.system
    if named is not None and named not in present:
        there = ", ".join(map(repr, sorted(present)[:20]))
        raise DataError(
            f"{_FIELD}.columns.system: {spec.uri} has the columns {there}, and not {named!r}",
            reason="MissingColumn",
            hint=f"name one that is there in {_FIELD}.columns, or leave system out",
        )


def _rows(source: Source, names: PromptColumns, alive: Callable[[], None]) -> Iterator[tuple[Row | BadRow, Collection[str]]]:
    """Each row with the columns that it has."""
    for file in source.files:
        container = detect(file)
        columns = columns_of(file, container)
        for row in read_rows(file, container, lambda _: alive(), set(), {names.prompt, names.system or names.prompt}):
            yield row, columns or (row.fields if isinstance(row, Row) else ())


def _prompt(row: Row | BadRow, columns: Collection[str], names: PromptColumns, turns: bool) -> str:
    if isinstance(row, BadRow):
        raise RowError(row.reason, row.detail)
    value, system = row.fields.get(names.prompt), row.fields.get(names.system) if names.system else None
    if not isinstance(value, str | list):
        there = f", but the columns {', '.join(map(repr, list(columns)[:20]))}" if columns and names.prompt not in columns else ""
        raise RowError("NoPrompt", f"it has no column {names.prompt} with text or messages{there}")
    prompt = with_system(prompt_alone(value), system if isinstance(system, str) else "")
    text = (clean_prompt if turns else clean)(prompt)
    if not text or not is_usable(text):
        raise RowError("UnusableText", "prompt is empty, or holds a NUL or a lone surrogate")
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
