"""A prompt of several turns as one text, and its turns again.

A prompt of one user turn is that turn's bare text. A longer one reads ``Human: …\\n\\nAssistant: …\\n\\nHuman: …``, with a
``System: …`` turn in front where there is one.

A word joiner stands in front of each of several turns (`TURN`). Texts lose theirs when they are read, so the turns can be found again
(`turns_of`) although a text may hold ``Human:`` itself; without the joiners the prompt is the plain text (`unmarked`).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ser_core.data.reading.files.rows import RowError

TURN = "\u2060"
SPEAKERS = {"system": "System", "user": "Human", "assistant": "Assistant"}
"""How the roles are written in a rendered prompt."""
_ROLE_OF = {speaker: role for role, speaker in SPEAKERS.items()}
_FIRST_USER_TURN = re.compile(r"(?:\A|\n\n)Human:[ \n]?(.*?)(?=\n\n(?:Human|Assistant):|\Z)", re.DOTALL)


class Turn(NamedTuple):
    """One turn; ``role`` is system, user or assistant."""

    role: str
    text: str


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
        return unmarked(turns[0].text)
    return "\n\n".join(f"{TURN}{SPEAKERS[turn.role]}: {unmarked(turn.text)}" for turn in turns)


def turns_of(prompt: str) -> list[Turn]:
    """The turns of a rendered prompt; one without marks is one turn of the user."""
    first, *pieces = prompt.split(TURN)
    if not pieces:
        return [Turn("user", prompt)]
    said = [piece.partition(":") for piece in (*filter(str.strip, [first]), *pieces)]
    return [Turn(_ROLE_OF[speaker.strip()], text.strip()) for speaker, _, text in said]


def unmarked(prompt: str) -> str:
    """A rendered prompt as plain text."""
    return prompt if prompt.isascii() else prompt.replace(TURN, "")


def first_user_turn(prompt: str) -> str:
    """The first thing that the user says in a rendered prompt."""
    prompt = unmarked(prompt)
    found = _FIRST_USER_TURN.search(prompt) if prompt.startswith(("Human:", "System:")) else None
    return found.group(1).strip() if found else prompt
