"""Dialogues as text: message lists and Anthropic HH transcripts become a prompt and two answers.

A prompt of one user turn is that turn's bare text. A longer one reads ``Human: …\\n\\nAssistant: …\\n\\nHuman: …``, with a
``System: …`` turn in front where there is one.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ser_core.data.reading.rows import RowError

_SPEAKERS = {"system": "System", "user": "Human", "assistant": "Assistant"}
_HH_TURN = re.compile(r"\n\n(Human|Assistant):")
_FIRST_USER_TURN = re.compile(r"(?:\A|\n\n)Human:[ \n]?(.*?)(?=\n\n(?:Human|Assistant):|\Z)", re.DOTALL)


class Turn(NamedTuple):
    """One turn; ``role`` is system, user or assistant."""

    role: str
    text: str


def is_transcript(text: str) -> bool:
    """True for an HH dialogue: it begins with ``Human:`` and has an ``Assistant:`` turn."""
    return text.lstrip().startswith("Human:") and "\n\nAssistant:" in text


def parse_transcript(text: str) -> list[Turn]:
    """Turns of an HH dialogue (`is_transcript`)."""
    _, *pieces = _HH_TURN.split("\n\n" + text.strip())
    return [Turn("user" if who == "Human" else "assistant", said.strip()) for who, said in zip(pieces[::2], pieces[1::2], strict=True)]


def parse_messages(field: str, value: Any) -> list[Turn]:
    """Turns of a list of ``{role, content}`` messages.

    Raises:
        RowError: ``NotText`` or ``BadTurns``.
    """
    turns = []
    for message in value:
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise RowError("NotText", f"{field} has a message without role and content")
        role, content = message["role"], message["content"]
        if role not in _SPEAKERS:
            raise RowError("BadTurns", f"{field} has a turn of role {str(role)[:20]!r}, expected system, user or assistant")
        if not isinstance(content, str):
            raise RowError("NotText", f"{field} has a message whose content is {type(content).__name__}")
        turns.append(Turn(role, content.strip()))
    return turns


def split_dialogues(chosen: Sequence[Turn], rejected: Sequence[Turn]) -> tuple[list[Turn], str, str]:
    """The common prompt of two whole dialogues, and the two last answers.

    Raises:
        RowError: ``BadTurns`` when one does not end with an answer, ``PromptMismatch`` when they differ before it.
    """
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns or turns[-1].role != "assistant":
            raise RowError("BadTurns", f"{name} does not end with an assistant turn")
    if list(chosen[:-1]) != list(rejected[:-1]):
        raise RowError("PromptMismatch", "chosen and rejected differ before the last answer")
    return list(chosen[:-1]), chosen[-1].text, rejected[-1].text


def render_prompt(turns: Sequence[Turn]) -> str:
    """A prompt as text.

    Raises:
        RowError: ``BadTurns`` when user and assistant do not alternate or the last turn is not the user's.
    """
    spoken = [turn.role for turn in turns if turn.role != "system"]
    if spoken != ["user", "assistant"] * (len(spoken) // 2) + ["user"]:
        raise RowError(
            "BadTurns",
            f"the prompt's turns are {', '.join(spoken[:8]) or 'none'}: user and assistant must alternate, the user first and last",
        )
    if len(turns) == 1:
        return turns[0].text
    return "\n\n".join(f"{_SPEAKERS[turn.role]}: {turn.text}" for turn in turns)


def first_user_turn(prompt: str) -> str:
    """The first thing that the user says in a rendered prompt."""
    found = _FIRST_USER_TURN.search(prompt) if prompt.startswith(("Human:", "System:")) else None
    return found.group(1).strip() if found else prompt


def common_prefix(chosen: str, rejected: str) -> int:
    """Length of the common beginning of two texts, cut back to the last white space so that no word is torn."""
    end = next(
        (index for index, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other), min(len(chosen), len(rejected))
    )
    while end > 0 and not chosen[end - 1].isspace():
        end -= 1
    return end
