"""Columns that are not used although they look like a part of the question, or contradict the labels: told before anything is trained."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ser_core.data.preparing.text import normal_form, shown
from ser_core.data.reading.dialogues import is_transcript, messages_in
from ser_core.data.reading.formats import Form
from ser_core.data.reading.layouts.finding import read_pairs
from ser_core.data.reading.layouts.layout import Layout
from ser_core.data.reading.layouts.writing import columns_line, keys_of
from ser_core.data.reading.rows import Row, RowError
from ser_core.errors import DataError

QUESTIONS = ("question", "instruction", "input", "query", "system", "system_prompt", "history", "context", "post", "article")
"""Columns of this name hold a part of what the answers answer."""
MAYBE_QUESTIONS = ("problem", "task", "title", "body", "user", "human", "request", "message", "text", "q")
"""The same, if several words stand there and the prompt is only what both answers begin with."""
DIALOGUES = ("messages", "conversations", "conversation")
"""Columns that may hold the dialogue before the answers."""
SCORES = tuple(
    (form.format(side="chosen", word=word), form.format(side="rejected", word=word))
    for word in ("score", "rating", "reward")
    for form in ("{side}_{word}", "{side}-{word}", "{word}_{side}", "{word}-{side}")
)
"""Columns that say how good the two answers are, as public sets name them."""
_NAMES = (*QUESTIONS, *MAYBE_QUESTIONS)
LOOKED_AT = frozenset({*_NAMES, *map(str.capitalize, _NAMES), *DIALOGUES, *(name for names in SCORES for name in names)})


def refuse_unused_questions(rows: Sequence[Row], layout: Layout, field: str) -> None:
    """Refuse a file with a text that looks like a part of the question and is not a part of any prompt.

    Args:
        rows: The first rows of the file.
        layout: How they are read.
        field: Of the specification, such as ``data.source``.

    Raises:
        DataError: ``UnusedColumn``, with the line to write.
    """
    for row in rows:
        for column, text in row.fields.items():
            if (
                column not in layout.used
                and _looks_like_a_question(column, text, row, layout)
                and not _stands_in_a_prompt(normal_form(text), row, layout)
            ):
                raise DataError(
                    f"{row.file}, line {row.line}: the column {column!r} is not used, and {shown(text)} does not stand in the prompt",
                    reason="UnusedColumn",
                    hint=f"say which columns count: {_columns(column, layout, field, row.fields)}",
                )
        _refuse_unused_dialogue(row, layout, field)


def _looks_like_a_question(column: str, text: Any, row: Row, layout: Layout) -> bool:
    name = column.strip().lower()
    if not isinstance(text, str) or not text.strip():
        return False
    chosen = row.fields.get("chosen")
    guessed = layout.form is Form.IMPLICIT and isinstance(chosen, str) and not is_transcript(chosen)
    return name in QUESTIONS or (guessed and name in MAYBE_QUESTIONS and " " in text.strip())


def _refuse_unused_dialogue(row: Row, layout: Layout, field: str) -> None:
    """Refuse answers that hold no prompt, beside a dialogue that does."""
    column = next((name for name in DIALOGUES if name not in layout.used and messages_in(row.fields.get(name)) is not None), None)
    if column is None or layout.form is not Form.IMPLICIT or not layout.names or _makes_pairs(row, layout):
        return
    raise DataError(
        f"{row.file}, line {row.line}: the column {column!r} is not used, and chosen and rejected hold no prompt",
        reason="UnusedColumn",
        hint=f"say which columns count: {_columns(column, layout, field, row.fields)}",
    )


def _makes_pairs(row: Row, layout: Layout) -> bool:
    try:
        return bool(read_pairs(row.fields, layout))
    except RowError:
        return False


def _stands_in_a_prompt(text: str, row: Row, layout: Layout) -> bool:
    try:
        return any(text in normal_form(pair.prompt) for pair in read_pairs(row.fields, layout))
    except RowError:
        return True


def _columns(column: str, layout: Layout, field: str, there: Collection[str]) -> str:
    """What to write so that the column is used as prompt or system message; without it where there is another prompt."""
    if not layout.names:
        return f"write {field}.columns, with the keys that docs/data-formats.md lists"
    keys = keys_of(layout.names, there)
    if column.startswith("system"):
        keys["system"] = column
    elif layout.form is Form.IMPLICIT:
        keys = {"prompt": column} | keys
    return columns_line(field, keys)


def scores_contradict(fields: Mapping[str, Any]) -> bool | None:
    """Whether the chosen answer of a row has the lower score; None where there are no scores or they are equal."""
    for names in SCORES:
        chosen, rejected = (fields.get(name, "") for name in names)
        try:
            one, other = float(chosen), float(rejected)
        except (TypeError, ValueError):
            continue
        if one < other or other < one:
            return one < other
    return None
