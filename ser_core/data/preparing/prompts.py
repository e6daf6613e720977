"""The prompts of a policy, from a data file of their own."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_core.data.preparing.text import clean, clean_prompt, is_usable, normal_form
from ser_core.data.preparing.validation import Tally
from ser_core.data.reading.dialogues import prompt_alone
from ser_core.data.reading.locations import Access
from ser_core.data.reading.readers import columns_of, detect, read_rows
from ser_core.data.reading.rows import BadRow, Row, RowError
from ser_core.data.reading.sources import Source, open_source
from ser_core.errors import DataError
from ser_core.store.commit import sha256_of


@dataclass(frozen=True, slots=True)
class Prompts:
    """Distinct prompts in the order of their files, and how they were read."""

    texts: tuple[str, ...]
    provenance: Mapping[str, Any]
    """URI, commit, files with SHA-256, rows, drops by reason."""


def read_prompts(
    uri: str,
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
        uri: Rows with a column ``prompt``.
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
    source = _open(uri, access, folder, alive)
    tally = Tally("policy.prompts")
    kept = {normal_form(prompt): "" for prompt in heldout}
    for row, columns in _rows(source, alive):
        tally.rows += 1
        try:
            text = _prompt(row, columns, turns)
            normal = normal_form(text)
            _check_new(normal, kept)
        except RowError as error:
            tally.drop(error.at(row.file, row.line))
        else:
            kept[normal] = text
    tally.check(max_dropped_fraction)
    texts = tuple(filter(None, kept.values()))
    if not texts:
        message = f"policy.prompts.uri: {uri} holds no prompt that is not held out"
        raise DataError(message, reason="NoPrompts", hint="give other prompts, or leave the field out")
    return Prompts(texts, _provenance(source, tally))


def _open(uri: str, access: Access, folder: Path, alive: Callable[[], None]) -> Source:
    try:
        return open_source(uri, access, folder, alive)
    except DataError as error:
        hint = "name the file itself in policy.prompts.uri" if "data.*" in (error.hint or "") else error.hint
        raise DataError(f"policy.prompts.uri: {error.message}", reason=error.reason, hint=hint) from error


def _rows(source: Source, alive: Callable[[], None]) -> Iterator[tuple[Row | BadRow, Collection[str]]]:
    """Each row with the columns that it has."""
    for file in source.files:
        container = detect(file)
        columns = columns_of(file, container)
        for row in read_rows(file, container, lambda _: alive(), set(), ("prompt",)):
            yield row, columns or (row.fields if isinstance(row, Row) else ())


def _prompt(row: Row | BadRow, columns: Collection[str], turns: bool) -> str:
    if isinstance(row, BadRow):
        raise RowError(row.reason, row.detail)
    value = row.fields.get("prompt")
    if not isinstance(value, str | list):
        there = f", but the columns {', '.join(map(repr, list(columns)[:20]))}" if columns and "prompt" not in columns else ""
        raise RowError("NoPrompt", f"it has no column prompt with text or messages{there}")
    text = (clean_prompt if turns else clean)(prompt_alone(value))
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
