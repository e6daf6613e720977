"""Columns that are not used although they look like a part of the question: told before anything is trained."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ser_core.data.preparing.pairs.text import normal_form, shown
from ser_core.data.reading.dialogues.messages import holds_something, messages_in, messages_in_text, parse_messages, said_to_the_model
from ser_core.data.reading.dialogues.transcripts import is_transcript
from ser_core.data.reading.files.rows import Row, RowError
from ser_core.data.reading.formats import Form
from ser_core.data.reading.layouts.finding import read_pairs
from ser_core.data.reading.layouts.layout import Layout
from ser_core.data.reading.layouts.writing import keys_of
from ser_core.errors import DataError

QUESTIONS = (
    *("question", "instruction", "instructions", "input", "query", "history", "context", "post", "article", "passage", "document"),
    *("contexts", "passages", "documents", "dialogue", "user_prompt", "system", "system_prompt", "system_message"),
)
"""Columns of this name hold a part of what the answers answer: texts, or lists of them."""
MAYBE_QUESTIONS = ("problem", "task", "title", "body", "user", "human", "request", "message", "text", "q")
"""The same, if several words stand there and the prompt is only what both answers begin with."""
DIALOGUES = (
    *("messages", "conversations", "conversation", "dialog", "chat", "turns", "trajectory"),
    *("prompt_messages", "chat_history", "conversation_history"),
)
"""Columns that may hold the dialogue before the answers."""
NEVER_READ = (
    *("tools", "functions", "chat_template_kwargs"),
    *("image", "images", "image_url", "image_path", "audio", "audios", "video", "videos"),
)
"""Columns that other trainers render into the prompt, or show to the model."""
_NAMES = (*QUESTIONS, *MAYBE_QUESTIONS, *DIALOGUES, *NEVER_READ)
LOOKED_AT = frozenset({*_NAMES, *map(str.capitalize, _NAMES)})
"""All of these, as they may be written."""
Prompts = Callable[[], Sequence[str]]
"""The prompts that are made of a row. Raises `RowError`."""


Line = Callable[[Mapping[str, str]], str]
"""Writes columns of the file by key of ``columns`` as a specification has them."""


def refuse_unused_question(row: Row, there: Collection[str], layout: Layout, line: Line) -> None:
    """Refuse a row of pairs with something that looks like a part of the question and is not a part of any prompt.

    Args:
        row: Of the file.
        there: Columns of the file, as far as it was read.
        layout: How it is read.
        line: Writes what names its columns.

    Raises:
        DataError: ``UnusedColumn``, with the line to write.
    """
    refuse_unused(
        row,
        layout.used,
        lambda: [pair.prompt for pair in read_pairs(row.fields, layout)],
        lambda column: _hint(column, row, there, layout, line),
        guessed=_is_guessed(row, layout),
    )


def refuse_unused_dialogue(rows: Sequence[Row], there: Collection[str], layout: Layout, line: Line) -> None:
    """Refuse a file whose answers hold no prompt, beside a dialogue that does. Arguments as of `refuse_unused_question`.

    Raises:
        DataError: ``UnusedColumn``, with the line to write.
    """
    found = ((row, name) for row in rows for name in DIALOGUES if name not in layout.used and messages_in(row.fields.get(name)) is not None)
    row, column = next(found, (None, ""))
    if row is None or layout.form is not Form.IMPLICIT or not layout.names or any(makes_pairs(one, layout) for one in rows):
        return
    raise DataError(
        f"{row.file}, line {row.line}: the column {column!r} is not used, and chosen and rejected hold no prompt",
        reason="UnusedColumn",
        hint=_hint(column, row, there, layout, line),
    )


def refuse_unused(row: Row, used: Collection[str], prompts: Prompts, hint: Callable[[str], str], *, guessed: bool = False) -> None:
    """Refuse a row with something that looks like a part of the question and is not a part of any prompt.

    Args:
        row: The row.
        used: Its columns that are used.
        prompts: What is made of it.
        hint: What to do about a column.
        guessed: Whether the prompt is only what two plain texts begin with.

    Raises:
        DataError: ``UnusedColumn``.
    """
    for column, value in row.fields.items():
        if column in used:
            continue
        if column.strip().lower() in NEVER_READ and holds_something(value):
            what = f"the column {column!r} is not used: models here read no tools, no pictures, no sounds and no settings of a template"
        elif (missed := _missed(_asked(column, value, guessed), prompts)) is not None:
            what = f"the column {column!r} is not used, and {shown(missed)} does not stand in the prompt"
        else:
            continue
        raise DataError(f"{row.file}, line {row.line}: {what}", reason="UnusedColumn", hint=hint(column))


def is_looked_at(column: str, *, guessed: bool) -> bool:
    """Whether a column of this name may hold a part of the question; ``guessed`` as in `refuse_unused`."""
    name = column.strip().lower()
    return name in _NAMES and (guessed or name not in MAYBE_QUESTIONS)


def _asked(column: str, value: Any, guessed: bool) -> Iterator[str]:
    """The texts in a column that look like a part of the question."""
    name = column.strip().lower()
    if name in QUESTIONS or (name in DIALOGUES and _messages(value) is not None):
        yield from _texts(value)
    elif guessed and name in MAYBE_QUESTIONS and isinstance(value, str) and " " in value.strip():
        yield value


def _texts(value: Any) -> Iterator[str]:
    messages = _messages(value)
    if messages is not None:
        yield from said_to_the_model(messages)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _messages(value: Any) -> list[Any] | None:
    """The messages that a value holds, also as text; None for anything else."""
    try:
        return messages_in_text(value) if isinstance(value, str) else messages_in(value)
    except RowError:
        return None


def _missed(texts: Iterator[str], prompts: Prompts) -> str | None:
    """The first text that stands in no prompt; None where all do, and of a row that makes none."""
    asked = [text for text in texts if holds_something(text.strip())]
    try:
        made = [normal_form(prompt) for prompt in prompts()] if asked else []
    except RowError:
        return None
    return next((text for text in asked if not any(normal_form(text) in prompt for prompt in made)), None)


def _is_guessed(row: Row, layout: Layout) -> bool:
    chosen = row.fields.get("chosen")
    return layout.form is Form.IMPLICIT and isinstance(chosen, str) and not is_transcript(chosen)


def makes_pairs(row: Row, layout: Layout) -> bool:
    """Whether a row can be read so."""
    try:
        return bool(read_pairs(row.fields, layout))
    except RowError:
        return False


def _hint(column: str, row: Row, there: Collection[str], layout: Layout, line: Line) -> str:
    if not layout.names:
        return "write what it says into the prompt, or remove the column, if the answers do not need it"
    return f"say which columns count: {_columns(column, row.fields[column], layout, keys_of(layout.names, there), line)}"


def _columns(column: str, value: Any, layout: Layout, keys: Mapping[str, str], line: Line) -> str:
    """What to write so that the column is used as prompt or system message; without it where there is another prompt."""
    name, without = column.strip().lower(), f"{line(keys)}, which leaves it out"
    if name.startswith("system") and isinstance(value, str):
        return line({**keys, "system": column})
    if name in NEVER_READ or not (isinstance(value, str) or messages_in(value) is not None):
        return without
    if layout.form is Form.IMPLICIT:
        return line({"prompt": column, **keys})
    if name in DIALOGUES and _ends_with_the_user(value):
        return f"{line({**keys, 'prompt': column})}, or {without}"
    return without


def _ends_with_the_user(value: Any) -> bool:
    try:
        return [turn.role for turn in parse_messages("", _messages(value) or ())][-1:] == ["user"]
    except RowError:
        return False
