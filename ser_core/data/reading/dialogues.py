"""Dialogues as text: message lists and Anthropic HH transcripts become a prompt and two answers.

A prompt of one user turn is that turn's bare text. A longer one reads ``Human: …\\n\\nAssistant: …\\n\\nHuman: …``, with a
``System: …`` turn in front where there is one.

A word joiner stands in front of each of several turns (`TURN`). Texts lose theirs when they are read, so the turns can be found again
(`turns_of`) although a text may hold ``Human:`` itself; without the joiners the prompt is the plain text (`unmarked`).
"""

import ast
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ser_core.data.reading.files.json_rows import refuse_many_parts
from ser_core.data.reading.files.rows import RowError

TURN = "\u2060"
_SPEAKERS = {"system": "System", "user": "Human", "assistant": "Assistant"}
_ROLE_OF = {speaker: role for role, speaker in _SPEAKERS.items()}
_ROLES = {
    **{role: role for role in _SPEAKERS},
    **dict.fromkeys(("developer",), "system"),
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "chatbot", "model"), "assistant"),
}
"""What the roles are called elsewhere: ShareGPT, Open Assistant, Gemini."""
_KEYS = (("role", "content"), ("from", "value"))
_SEEN = ("image", "images", "image_url", "audio", "audios", "input_audio", "video", "videos", "file", "files")
"""Where a message, or a part of its content, keeps what is no text."""
_UNREAD = (
    *("tool_calls", "function_call", "function_calls", "tools", "functions", "reasoning_content", "reasoning", "thinking"),
    *("documents", "attachments"),
    *_SEEN,
)
"""What a message may say beside its content; chat templates render it, each in its own way."""
_WRAPPED_IN = ("messages", "conversations", "conversation")
"""Keys of an object that holds nothing but messages."""
_OBJECTS_AS_TEXT = re.compile(r"\s*+\"?\s*+(?:array\()?(?:\[\s*+)?\{(?=.{0,2000}?[\"'](?:role|from)\\?[\"']\s*:)", re.DOTALL)
"""Of white space nothing is given back: of a text of a hundred thousand spaces every division was tried, for hours."""
_ARRAY = re.compile(r"array\((\[.*\]),\s*dtype=object\)", re.DOTALL)
"""How NumPy writes a list as Python would read it."""
_MESSAGES_AS_TEXT = re.compile(r"\s*\"?(?:array\()?\[\s*\{\s*\\?[\"'](?:role|content|from|value)\\?[\"']\s*:")
_MOST_PYTHON = 1 << 20
"""Longest text that is read as Python, which takes a hundred times its memory."""
_ANSWER = "\n\nAssistant:"
_HH_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLE = re.compile(r"(?:\A|(?<=\n\n))(?=(?:System|Human|Assistant):)")
_FIRST_USER_TURN = re.compile(r"(?:\A|\n\n)Human:[ \n]?(.*?)(?=\n\n(?:Human|Assistant):|\Z)", re.DOTALL)


class Turn(NamedTuple):
    """One turn; ``role`` is system, user or assistant."""

    role: str
    text: str


def is_transcript(text: str) -> bool:
    """True for an HH dialogue: it begins with ``Human:``, or ``System:`` before that, and has an ``Assistant:`` turn."""
    said = text.lstrip()
    return said.startswith(("Human:", "System:")) and "\n\nAssistant:" in text and (said[0] == "H" or "\n\nHuman:" in text)


def parse_transcript(text: str) -> list[Turn]:
    """Turns of an HH dialogue (`is_transcript`)."""
    said = text.strip()
    if said.startswith("System:"):
        system, _, rest = said.removeprefix("System:").partition("\n\nHuman:")
        return [Turn("system", system.strip()), *parse_transcript(f"Human:{rest}")]
    _, *pieces = _HH_TURN.split("\n\n" + said)
    return [Turn("user" if who == "Human" else "assistant", said.strip()) for who, said in zip(pieces[::2], pieces[1::2], strict=True)]


def parse_messages(field: str, value: Sequence[Any]) -> list[Turn]:
    """Turns of a list of ``{role, content}`` or ``{from, value}`` messages. A content may be a list of text parts.

    Raises:
        RowError: ``NotText`` or ``BadTurns``.
    """
    turns = []
    for message in value:
        keys = _keys_of(message) if isinstance(message, dict) else None
        if keys is None:
            what = "has a message without role and content" if isinstance(message, dict) else "is a list, and not of messages"
            raise RowError("NotText", f"{field} {what}")
        role, content = message[keys[0]], message[keys[1]]
        known = _ROLES.get(role.lower()) if isinstance(role, str) else None
        if known is None:
            raise RowError("BadTurns", f"{field} has a turn of role {str(role)[:20]!r}, expected system, user or assistant")
        if unread := _held(message, _UNREAD):
            raise RowError("NotText", f"{field} has a message with {unread}, which is not read: write it into the content, or leave it out")
        turns.append(Turn(known, _content(field, content).strip()))
    return turns


def said_to_the_model(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The texts of messages of whatever role but the assistant's, also where they cannot be read as a dialogue."""
    for message in messages:
        role, content = _keys_of(message) or _KEYS[0]
        if _ROLES.get(str(message.get(role)).lower()) != "assistant":
            parts = message.get(content)
            yield from filter(None, map(_text_of, parts if isinstance(parts, list) else [parts]))


def _content(field: str, content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [text for part in content if (text := _text_of(part)) is not None]
        if len(texts) == len(content):
            return "".join(texts)
        raise RowError("NotText", f"{field} has a message with a part that is no text")
    raise RowError("NotText", f"{field} has a message whose content is {type(content).__name__}")


def _text_of(part: Any) -> str | None:
    """The text of a part of a content; None of a picture, a sound or a call, whatever stands beside it."""
    if isinstance(part, dict):
        kind = part.get("type")
        part = None if _held(part, _SEEN) or (isinstance(kind, str) and not kind.endswith("text")) else part.get("text")
    return part if isinstance(part, str) else None


def _held(fields: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """The first of some keys under which there is something."""
    return next((key for key in keys if fields.get(key) and holds_something(fields[key])), None)


_NOTHING = ("", "[]", "{}", "null")
"""Texts, the last three of them JSON."""


def holds_something(value: Any) -> bool:
    """Whether a value is more than nothing, or a list or an object of nothing, as tables write it that give every row all keys."""
    inside = [value]
    while inside:
        one = inside.pop()
        if isinstance(one, dict | list):
            inside += one.values() if isinstance(one, dict) else one
        elif one is not None and one not in _NOTHING and not (isinstance(one, float) and math.isnan(one)):
            return True
    return False


def messages_in_text(text: str) -> list[Any] | None:
    """The messages that are written in a text as JSON, as Python or as NumPy writes a list; None for other text.

    Raises:
        RowError: ``NotText``: it begins like messages, and cannot be read; ``TooLarge``.
    """
    if _OBJECTS_AS_TEXT.match(text) is None or not text.rstrip().endswith(("]", "}", '"', ")")):
        return None
    found = messages_in(_read(text.strip()))
    if found is None and _MESSAGES_AS_TEXT.match(text) and text.rstrip().endswith(("]", ']"', ")")):
        raise RowError("NotText", f"it begins like messages and is neither a JSON nor a Python list of them: {text.strip()[:40]!r}")
    return found


def messages_in(value: Any) -> list[Any] | None:
    """A list of messages, one message alone, or an object that holds a list of them, as the list; None for anything else."""
    if isinstance(value, dict):
        value = next((value[name] for name in _WRAPPED_IN if name in value), value)
    if isinstance(value, dict):
        value = [value]
    return value if isinstance(value, list) and value and all(map(_is_message, value)) else None


def _is_message(value: Any) -> bool:
    keys = _keys_of(value) if isinstance(value, dict) else None
    return keys is not None and isinstance(value[keys[0]], str) and isinstance(value[keys[1]], str | list)


def _read(text: str) -> Any:
    """The value that JSON, Python or NumPy has written, also as JSON inside a JSON text; None where none has."""
    refuse_many_parts(text)
    array = _ARRAY.fullmatch(text)
    text = array[1] if array else text
    python = text if len(text) <= _MOST_PYTHON else ""
    # NumPy writes its lists without commas; a line break of a text is escaped there, so none of these stands in one.
    for read, written in ((json.loads, text), (ast.literal_eval, python), (ast.literal_eval, python.replace("}\n {", "},\n {"))):
        try:
            found = read(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return _read(found) if isinstance(found, str) and len(found) < len(text) else found
    return None


def _keys_of(message: Mapping[str, Any]) -> tuple[str, str] | None:
    return next((keys for keys in _KEYS if set(keys) <= message.keys()), None)


def text_or_turns(field: str, value: str | list[Any]) -> str | list[Turn]:
    """A value as it is read: turns where it holds messages, also as text, else its text.

    Raises:
        RowError: As `parse_messages`.
    """
    messages = messages_in_text(value) if isinstance(value, str) else value
    return value if isinstance(value, str) and messages is None else parse_messages(field, messages or ())


def rendered(said: str | list[Turn]) -> str:
    """A prompt as every form of it is rendered.

    Raises:
        RowError: As `render_prompt`.
    """
    return plain_prompt(said) if isinstance(said, str) else render_prompt(said)


def prompt_alone(value: str | list[Any]) -> str:
    """A prompt that stands without answers, rendered.

    Raises:
        RowError: As `parse_messages` and `render_prompt`.
    """
    return rendered(text_or_turns("prompt", value))


def answer_alone(value: str | list[Any]) -> str:
    """An answer that stands without its prompt.

    Raises:
        RowError: As `parse_messages`; ``BadTurns`` for anything but one turn of the assistant.
    """
    said = text_or_turns("answer", value)
    if isinstance(said, str):
        return said
    if [turn.role for turn in said] != ["assistant"]:
        raise RowError("BadTurns", "answer is not one turn of the assistant: give the turns before it as prompt")
    return said[0].text


def unmarked(prompt: str) -> str:
    """A rendered prompt as plain text."""
    return prompt if prompt.isascii() else prompt.replace(TURN, "")


def turns_of(prompt: str) -> list[Turn]:
    """The turns of a rendered prompt; one without marks is one turn of the user."""
    first, *pieces = prompt.split(TURN)
    if not pieces:
        return [Turn("user", prompt)]
    said = [piece.partition(":") for piece in (*filter(str.strip, [first]), *pieces)]
    return [Turn(_ROLE_OF[speaker.strip()], text.strip()) for speaker, _, text in said]


def plain_prompt(text: str) -> str:
    """A prompt that is written as an HH dialogue up to the answer, as the same prompt is rendered elsewhere; other text as it is."""
    text = unmarked(text)
    said = text.strip()
    if not said.startswith(("Human:", "System:")) or not (text.startswith("\n\n") or said.endswith("\n\nAssistant:")):
        return text
    said = said.removesuffix("\n\nAssistant:")
    if said.startswith("System:"):
        return _marked(said)
    try:
        return render_prompt(parse_transcript(said))
    except RowError:
        return text


def with_system(prompt: str, system: str) -> str:
    """A rendered prompt with a system message in front, unless it stands there."""
    said, plain = unmarked(system).strip(), unmarked(prompt)
    if not said or said in plain:
        return prompt
    if prompt != plain:
        return f"{TURN}System: {said}\n\n{prompt}"
    user = _marked(plain) if is_transcript(plain) else f"{TURN}Human: {plain.strip()}"
    return f"{TURN}System: {said}\n\n{user if TURN in user else TURN + user}"


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
    return "\n\n".join(f"{TURN}{_SPEAKERS[turn.role]}: {unmarked(turn.text)}" for turn in turns)


def _marked(said: str) -> str:
    """A prompt that is written as turns, with marks where they begin; without, where user and assistant do not alternate."""
    found = _ROLE.sub(TURN, said)
    try:
        render_prompt(turns_of(found))
    except RowError:
        return said
    return found


def first_user_turn(prompt: str) -> str:
    """The first thing that the user says in a rendered prompt."""
    prompt = unmarked(prompt)
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
