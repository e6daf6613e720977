"""A pair as a row of a file of data: whoever reads the row finds the same pair."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ser_core.data.preparing.pairs.text import clean_prompt
from ser_core.data.preparing.pairs.validation import pair_id
from ser_core.data.reading.dialogues.turns import TURN, Turn, turns_of, unmarked
from ser_core.data.reading.files.rows import RowError
from ser_core.data.reading.formats import Form, to_pair

Said = str | list[dict[str, str]]
"""Text, or messages."""


def written(prompt: str, answers: Mapping[str, str]) -> dict[str, Any]:
    """Prompt and answers as columns: plain text, and messages where plain text would be read as another pair.

    Args:
        prompt: As the tables of `prepare` have it, its turns marked or not.
        answers: The two by their columns.
    """
    *tried, always = _forms(prompt, tuple(answers.values()))
    own, turns = pair_id(prompt, *answers.values()), turns_of(prompt)
    said = next((form for form in tried if _read(form) == (own, turns)), always)
    return dict(zip(("prompt", *answers), said, strict=True))


def _forms(prompt: str, answers: Sequence[str]) -> Iterator[tuple[Said, ...]]:
    """The plainest first. The last one keeps no turns, and is read as the same pair whatever stands in it."""
    turns = turns_of(prompt)
    messages = tuple(_messages(Turn("assistant", answer)) for answer in answers)
    yield (_messages(*turns) if TURN in prompt else prompt, *answers)
    yield (_messages(*turns), *messages)
    yield (_messages(Turn("user", unmarked(prompt))), *messages)


def _messages(*turns: Turn) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.text} for turn in turns]


def _read(said: Sequence[Said]) -> tuple[str, list[Turn]] | None:
    """The id and the turns of what a reader finds; None where it finds no pair."""
    form = Form.UNLABELED_ANSWERS
    try:
        raw = to_pair(dict(zip(("prompt", "answer_1", "answer_2"), said, strict=True)), form)
    except RowError:
        return None
    return pair_id(raw.prompt, raw.answer_1, raw.answer_2), turns_of(clean_prompt(raw.prompt))
