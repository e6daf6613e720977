"""Dialogues that are written as one text with ``Human:`` and ``Assistant:``, as Anthropic HH writes them."""

import re
from collections.abc import Iterator, Sequence

from ser_core.data.reading.dialogues.turns import TURN, Turn, render_prompt, turns_of, unmarked
from ser_core.data.reading.files.rows import RowError

_ANSWER = "\n\nAssistant:"
_HH_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLE_WORD = r"(?:system|human|user|instruction)(?: prompt| message)? *+(?:[:\n]|(?=<))"
_HEADER = re.compile(rf"\A(?:\s*+(?:<{{1,2}}[^<>\n]{{1,30}}>{{1,2}}|(?-i:\[[A-Z_]{{3,20}}\])|#{{1,6}}|{_ROLE_WORD}))*+\s*", re.IGNORECASE)
"""What templates write before the first text, such as ``<|im_start|>system``, ``[INST] <<SYS>>``, ``### System:`` or ``Human:``."""
_END = re.compile(r"\Z|\n| *+(?:<[|｜</]|<end|\[/)")
"""Of a text, also as templates mark it."""
_EMPTY_SYSTEM = re.compile(r"System:\s*\n\n(?=Human:)")
_ROLE = re.compile(r"(?:\A|(?<=\n\n))(?=(?:System|Human|Assistant):)")


def with_line_feeds(text: str) -> str:
    """A text whose turns stand between lines that end at CRLF, with LF in their place; other text as it is."""
    return text.replace("\r\n", "\n") if any(f"\r\n\r\n{speaker}:" in text for speaker in ("Assistant", "Human")) else text


def is_transcript(text: str) -> bool:
    """True for an HH dialogue: it begins with ``Human:``, or ``System:`` before that, and has an ``Assistant:`` turn."""
    said = with_line_feeds(text).lstrip()
    return said.startswith(("Human:", "System:")) and "\n\nAssistant:" in said and (said[0] == "H" or "\n\nHuman:" in said)


def parse_transcript(text: str) -> list[Turn]:
    """Turns of an HH dialogue (`is_transcript`)."""
    said = _without_empty_system(text.strip())
    if said.startswith("System:"):
        system, _, rest = said.removeprefix("System:").partition("\n\nHuman:")
        return [Turn("system", system.strip()), *parse_transcript(f"Human:{rest}")]
    _, *pieces = _HH_TURN.split("\n\n" + said)
    return [Turn("user" if who == "Human" else "assistant", said.strip()) for who, said in zip(pieces[::2], pieces[1::2], strict=True)]


def split_transcripts(chosen: str, rejected: str) -> tuple[list[Turn], str, str]:
    """The same as `split_dialogues`, of two HH dialogues. What both have in common is read once: it may be most of 16 MiB.

    Raises:
        RowError: As `split_dialogues`.
    """
    one, other = chosen.strip().rpartition(_ANSWER), rejected.strip().rpartition(_ANSWER)
    if one[0] != other[0] or "\n\nHuman:" in one[2] or "\n\nHuman:" in other[2]:
        return split_dialogues(parse_transcript(chosen), parse_transcript(rejected))
    return parse_transcript(one[0]), one[2].strip(), other[2].strip()


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


def plain_prompt(text: str) -> str:
    """A prompt that is written as an HH dialogue up to the answer, as the same prompt is rendered elsewhere; other text as it is."""
    text = unmarked(text)
    said = text.strip()
    if not said.startswith(("Human:", "System:")) or not (text.startswith("\n\n") or said.endswith("\n\nAssistant:")):
        return text
    said = _without_empty_system(said.removesuffix("\n\nAssistant:"))
    if said.startswith("System:"):
        return _marked(said)
    try:
        return render_prompt(parse_transcript(said))
    except RowError:
        return text


def _without_empty_system(said: str) -> str:
    return said[empty.end() :] if (empty := _EMPTY_SYSTEM.match(said)) else said


def with_system(prompt: str, system: str) -> str:
    """A rendered prompt with a system message in front, unless it stands there."""
    said, plain = unmarked(system).strip(), unmarked(prompt)
    if not said or any(_begins_with(text, _HEADER.sub("", said, count=1) or said) for text in _said_first(prompt)):
        return prompt
    if prompt != plain:
        return f"{TURN}System: {said}\n\n{prompt}"
    user = _marked(plain) if is_transcript(plain) else f"{TURN}Human: {plain.strip()}"
    return f"{TURN}System: {said}\n\n{user if TURN in user else TURN + user}"


def _said_first(prompt: str) -> Iterator[str]:
    """What stands where a system message may stand: in system turns, and at the beginning. A later turn may only quote it."""
    first, *others = turns_of(prompt)
    yield _HEADER.sub("", first.text, count=1)
    yield from (turn.text for turn in others if turn.role == "system")


def _begins_with(text: str, said: str) -> bool:
    """Whether a text begins with these words, and not only with a sentence that goes on."""
    return text.startswith(said) and (_END.match(text, len(said)) is not None or not said[-1].isalnum())


def _marked(said: str) -> str:
    """A prompt that is written as turns, with marks where they begin; without, where user and assistant do not alternate."""
    found = _ROLE.sub(TURN, said)
    try:
        render_prompt(turns_of(found))
    except RowError:
        return said
    return found
