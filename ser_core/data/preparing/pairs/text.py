"""Text as it is cleaned, compared and shown.

Pairs are compared in a normal form (compatibility forms, letter case, white space and invisible characters do not count),
so that near duplicates meet; what is trained on keeps its own spelling.
"""

import hashlib
import json
import re
import unicodedata

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_REMOVED = re.compile("[\u200b\u2060\ufeff\u202d\u202e]")
"""Zero-width spaces and direction overrides. Joiners and isolates stay: emoji, Indic, Arabic and Hebrew text need them."""
_REMOVED_FROM_TURNS = re.compile("[\u200b\ufeff\u202d\u202e]")
"""The same without the mark in front of a turn (`ser_core.data.reading.dialogues.turns.TURN`)."""
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_WHITE = re.compile(r"[^\S ]\s*| \s+")
"""White space that is no single space."""
_LONG = 1 << 20
"""From here on a list of the words would take too much memory: ten times the text's."""
_SPECIAL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk|mask|sop|eop)>|<(?:start|end)_of_turn>|<extra_id_\d{1,3}>"
    r"|<</?SYS>>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|CLS|SEP|MASK|PAD|UNK|gMASK)\]"
    r"|\n\n(?:Human|Assistant|System|User):|(?:\A|\n)### ?(?:Instruction|Response|Human|Assistant|System|User):"
)
_NO_VALUE = frozenset({"nan", "none", "null", "n/a", "#n/a", "<na>", "undefined", "[deleted]", "[removed]", "[object object]"})
_NO_RESULT = re.compile(r"#(?:NAME\?|REF!|VALUE!|DIV/0!|NULL!|NUM!)", re.IGNORECASE)
"""What a spreadsheet shows of a formula that it cannot compute; a text that begins with = or - is one to it."""
_BYTES = re.compile(r"b(['\"]).*\1", re.DOTALL)
_MISREAD = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2[\u0080\u20ac]")
"""The first two characters of many that UTF-8 has two or three bytes for, where these were read as Latin-1 or Windows-1252."""
_ASKS_FOR_AN_ANSWER = re.compile(r"(?:\A|\n)[ \t#*]*(?:assistant|ai|bot|gpt|model|response|answer|a)[ *]*:\Z", re.IGNORECASE)
_SPEAKS = re.compile(r"[ \t#*]*(?:assistant|ai|bot|gpt|chatgpt)[ *]*:", re.IGNORECASE)
_LONGEST_ROLE = 40
_KEY = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bhf_[A-Za-z0-9]{30,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_KEY_MARKS = ("AKIA", "ASIA", "sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "hf_", "-----BEGIN")
_AT_HOST = re.compile(r"[A-Za-z0-9._%+-]@[A-Za-z0-9-][A-Za-z0-9.-]{0,252}\.[A-Za-z]{2}")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
_CHARACTERS_REDACTED = 1000
_SHOWN_CHARACTERS = 60


def is_usable(text: str) -> bool:
    """False for text with a NUL or a lone surrogate: no tokenizer and no UTF-8 file can hold it."""
    return (text.isascii() and "\x00" not in text) or _UNUSABLE.search(text) is None


def clean(text: str) -> str:
    """Without zero-width spaces, direction overrides and white space at both ends."""
    return (text if text.isascii() else _REMOVED.sub("", text)).strip()


def clean_prompt(prompt: str) -> str:
    """A rendered prompt, cleaned; the marks in front of its turns stay."""
    return (prompt if prompt.isascii() else _REMOVED_FROM_TURNS.sub("", prompt)).strip()


def normal_form(text: str) -> str:
    """What two texts are compared by."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    folded = text.casefold()
    return " ".join(folded.split()) if len(folded) < _LONG else _WHITE.sub(" ", folded).strip()


def digest(*texts: str) -> bytes:
    """16 bytes of the SHA-256 of texts without NUL, the same on every machine."""
    return hashlib.sha256("\x00".join(texts).encode()).digest()[:16]


def holds_special_tokens(text: str) -> bool:
    """True when tokens or role markers of common chat templates stand in the text."""
    return ("<" in text or "[" in text or "\n\n" in text or "###" in text) and _SPECIAL.search(text) is not None


def stands_for_no_value(text: str) -> bool:
    """True when a whole text is what programs write where a value is missing or cannot be computed."""
    return len(text) <= len("[object object]") and (text.casefold() in _NO_VALUE or _NO_RESULT.fullmatch(text) is not None)


def is_written_bytes(text: str) -> bool:
    """True when a whole text is what Python writes of bytes: ``b'…'``."""
    return text.startswith("b") and _BYTES.fullmatch(text) is not None


def was_misread(text: str) -> bool:
    """True when a text holds UTF-8 that was read in another encoding, such as ``Ã©`` in place of ``é``."""
    return not text.isascii() and _MISREAD.search(text) is not None


def ends_with_a_role(prompt: str) -> bool:
    """True when a prompt ends with the name of the one who answers, which is no control token: a template adds its own."""
    return prompt.endswith(":") and _ASKS_FOR_AN_ANSWER.search(prompt, max(0, len(prompt) - _LONGEST_ROLE)) is not None


def begins_with_a_role(answer: str) -> bool:
    """True when an answer begins with the name of the one who answers."""
    return _SPEAKS.match(answer) is not None


def is_json(text: str) -> bool:
    """True when a whole text is a JSON string, list or object."""
    if text[:1] + text[-1:] not in ('""', "[]", "{}") or len(text) > _LONG:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def is_escaped(text: str) -> bool:
    """True when line breaks of a text are written as a backslash and an n, all of them."""
    return "\\n" in text and "\n" not in text


def holds_secrets(text: str) -> bool:
    """True when something like an e-mail address, an access key or a private key stands in the text."""
    return ("@" in text and _AT_HOST.search(text) is not None) or (
        any(mark in text for mark in _KEY_MARKS) and _KEY.search(text) is not None
    )


def shown(text: str, characters: int = _SHOWN_CHARACTERS) -> str:
    """A short, escaped form for messages, without e-mail addresses and keys."""
    redacted = _KEY.sub("…", _EMAIL.sub("…", text[:_CHARACTERS_REDACTED]))
    return repr(redacted if len(redacted) <= characters else redacted[:characters] + "…")


def ends_shown(text: str) -> str:
    """Both ends of a text, as `shown`."""
    if len(text) <= 2 * _SHOWN_CHARACTERS:
        return shown(text, 2 * _SHOWN_CHARACTERS)
    end = _KEY.sub("…", _EMAIL.sub("…", text[-_CHARACTERS_REDACTED:]))
    return f"{shown(text)[:-1]} {repr(end[-_SHOWN_CHARACTERS:])[1:]}"
