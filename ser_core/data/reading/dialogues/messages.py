"""Dialogues that are lists of messages, also where they are written in a text."""

import ast
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ser_core.data.reading.dialogues.transcripts import plain_prompt, with_line_feeds
from ser_core.data.reading.dialogues.turns import SPEAKERS, Turn, render_prompt
from ser_core.data.reading.files.json_rows import refuse_many_parts
from ser_core.data.reading.files.rows import RowError

_ROLES = {
    **{role: role for role in SPEAKERS},
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
_NOTHING = ("", "[]", "{}", "null")
"""Texts, the last three of them JSON."""


def parse_messages(field: str, value: Sequence[Any]) -> list[Turn]:
    """Turns of a list of ``{role, content}`` or ``{from, value}`` messages. A content may be a list of text parts. A system message without
    text is none.

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
        turns.append(Turn(known, "" if known == "system" and content is None else _content(field, content).strip()))
    return [turn for turn in turns if turn.role != "system" or turn.text]


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
    if keys is None or not isinstance(value[keys[0]], str):
        return False
    return isinstance(value[keys[1]], str | list) or (value[keys[1]] is None and _ROLES.get(value[keys[0]].lower()) == "system")


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
    return with_line_feeds(value) if isinstance(value, str) and messages is None else parse_messages(field, messages or ())


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
