"""Preference formats: which columns make a pair, and how one row becomes one.

| form | columns |
|---|---|
| explicit prompt | prompt, chosen, rejected |
| implicit prompt | chosen, rejected |
| labelled answers | prompt, answer_1, answer_2, better |
| unlabelled answers | prompt, answer_1, answer_2 |

Texts may be strings, lists of ``{role, content}`` messages (both as TRL defines them) or, with an implicit prompt, Anthropic HH
transcripts. Optional columns: ``source``, and ``id`` for a row's own name.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from ser_core.data.reading.dialogues.messages import messages_in, rendered, text_or_turns
from ser_core.data.reading.dialogues.transcripts import is_transcript, plain_prompt, split_dialogues, split_transcripts, with_system
from ser_core.data.reading.dialogues.turns import Turn, render_prompt, unmarked
from ser_core.data.reading.files.rows import RowError
from ser_core.data.reading.labels import TIE, meaning_of, unwrapped

ACCEPTED = "prompt, chosen, rejected; chosen, rejected; prompt, answer_1, answer_2, better; for unlabeled also prompt, answer_1, answer_2"


class Form(StrEnum):
    """Which columns a source has; the value is shown to people."""

    EXPLICIT = "preference pairs with explicit prompt"
    IMPLICIT = "preference pairs with implicit prompt"
    LABELED_ANSWERS = "labelled pairs of answers"
    UNLABELED_ANSWERS = "unlabelled pairs of answers"


COLUMNS: Mapping[Form, tuple[str, ...]] = {
    Form.EXPLICIT: ("prompt", "chosen", "rejected"),
    Form.IMPLICIT: ("chosen", "rejected"),
    Form.LABELED_ANSWERS: ("prompt", "answer_1", "answer_2", "better"),
    Form.UNLABELED_ANSWERS: ("prompt", "answer_1", "answer_2"),
}
"""In order of precedence."""


@dataclass(frozen=True, slots=True)
class RawPair:
    """A pair as its row has it. ``better`` is 1 or 2; 0 for a tie; None when the label is unknown."""

    prompt: str
    """Rendered (`dialogues`), its turns marked."""
    answer_1: str
    answer_2: str
    better: int | None
    weight: float | None = None
    """How much it counts beside the other pairs; None: as much as the mean."""
    margin: float | None = None
    """What the loss subtracts from the difference of its scores; None: nothing."""


def describe(form: Form, rows: Sequence[Mapping[str, Any]]) -> str:
    """The form and the kind of text in the first rows, in words."""
    columns = COLUMNS[form]
    texts = [row[columns[-1] if form is Form.IMPLICIT else columns[1]] for row in rows if all(row.get(name) for name in columns[:2])]
    if texts and isinstance(texts[0], list | dict):
        return f"{form}, messages"
    if form is Form.IMPLICIT and texts and all(isinstance(text, str) and is_transcript(text) for text in texts):
        return f"{form}, Anthropic HH dialogues"
    return f"{form}, text"


def to_pair(fields: Mapping[str, Any], form: Form, own: Mapping[str, str] = MappingProxyType({})) -> RawPair:
    """The pair in one row. A ``system`` text stands in front of the prompt.

    Args:
        fields: The row by columns of the form.
        form: Which these are.
        own: Column of the file by column of the form, where the two differ.

    Raises:
        RowError: ``MissingField``, ``NotFinite``, ``NotText``, ``BadTurns``, ``PromptMismatch`` or ``BadLabel``.
    """
    names = [name for name in COLUMNS[form] if name != "better"]
    values = [text_or_turns(own.get(name, name), _value(fields, name, own.get(name, name))) for name in names]
    if form is Form.IMPLICIT:
        pair = _with_implicit_prompt(*values)
        return replace(pair, prompt=with_system(pair.prompt, system_of(fields, "system")))
    prompt, first, second = values
    better = 1 if form is Form.EXPLICIT else _label(fields, own, needed=form is Form.LABELED_ANSWERS)
    if isinstance(first, str) and isinstance(second, str):
        text, one, other = _without_dialogue(rendered(prompt), first, second)
    elif isinstance(first, str) or isinstance(second, str):
        raise RowError("NotText", f"{names[1]} and {names[2]} must both be text or both messages")
    else:
        turns, one, other = split_dialogues(first, second)
        text = _joined(prompt, turns)
    return RawPair(with_system(text, system_of(fields, "system")), one, other, better)


def system_of(fields: Mapping[str, Any], column: str) -> str:
    """The system message in a column; empty where there is none. Raises `RowError` ``NotText``."""
    value = fields.get(column)
    if value is None or isinstance(value, float):
        return ""
    if not isinstance(value, str):
        raise RowError("NotText", f"{column} is {type(value).__name__}, expected text")
    return value


def _without_dialogue(prompt: str, first: str, second: str) -> tuple[str, str, str]:
    """Of answers that repeat the prompt's whole dialogue, the last turns alone."""
    if is_transcript(first) and is_transcript(second):
        try:
            turns, one, other = split_transcripts(first, second)
            if unmarked(prompt).strip() == unmarked(render_prompt(turns)):
                return prompt, one, other
        except RowError:
            pass
    return prompt, first, second


def _value(fields: Mapping[str, Any], column: str, name: str) -> Any:
    value = fields.get(column)
    if value is None:
        raise RowError("MissingField", f"{name} is {'null' if column in fields else 'missing'}")
    _refuse_not_finite(name, value)
    if not isinstance(value, str | list | dict):
        what = "bytes that are no UTF-8" if isinstance(value, bytes) else type(value).__name__
        raise RowError("NotText", f"{name} is {what}, expected text or messages")
    if isinstance(value, dict) and value.get("tools"):
        raise RowError("NotText", f"{name} comes with tools, which are not read: leave them out, if the answers do not need them")
    return (messages_in(value) or [value]) if isinstance(value, dict) else value


def _refuse_not_finite(name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise RowError("NotFinite", f"{name} is {value}")


def _with_implicit_prompt(chosen: str | list[Turn], rejected: str | list[Turn]) -> RawPair:
    if isinstance(chosen, str) and isinstance(rejected, str):
        if is_transcript(chosen) and is_transcript(rejected):
            turns, one, other = split_transcripts(chosen, rejected)
            return RawPair(render_prompt(turns), one, other, 1)
        end = _common_prefix(chosen, rejected)
        if not chosen[:end].strip():
            raise RowError("PromptMismatch", "chosen and rejected have no common beginning, and there is no prompt column")
        return RawPair(unmarked(chosen[:end]), chosen[end:], rejected[end:], 1)
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise RowError("NotText", "chosen and rejected must both be text or both messages")
    turns, one, other = split_dialogues(chosen, rejected)
    return RawPair(render_prompt(turns), one, other, 1)


def _joined(prompt: str | list[Turn], turns: list[Turn]) -> str:
    """The prompt column, where the two answers repeat it (or not) before their last turn."""
    if not turns:
        return rendered(prompt)
    if isinstance(prompt, list):
        if prompt != turns:
            raise RowError("PromptMismatch", "the turns before the last answer differ from the prompt column")
        return render_prompt(turns)
    users = [turn.text for turn in turns if turn.role == "user"]
    if {prompt.strip(), unmarked(plain_prompt(prompt)).strip()}.isdisjoint((*users, unmarked(render_prompt(turns)))):
        raise RowError("PromptMismatch", "no user turn of the messages is the prompt column's text")
    return render_prompt(turns)


def _label(fields: Mapping[str, Any], own: Mapping[str, str], *, needed: bool) -> int | None:
    value = unwrapped(fields.get("better"))
    if not needed or value is None or value == "":
        return None
    name, *answers = (own.get(column, column) for column in ("better", "answer_1", "answer_2"))
    _refuse_not_finite(name, value)
    meaning = meaning_of(value, answers)
    if meaning is None:
        raise RowError("BadLabel", f"{name} is {str(value)[:20]!r}, expected 1, 2 or {TIE}, A or B, or the better answer's column")
    return meaning


def _common_prefix(chosen: str, rejected: str) -> int:
    """Length of the common beginning of two texts, cut back to the last white space so that no word is torn."""
    end = next(
        (index for index, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other), min(len(chosen), len(rejected))
    )
    while end > 0 and not chosen[end - 1].isspace():
        end -= 1
    return end
