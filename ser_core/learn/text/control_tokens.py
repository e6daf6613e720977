"""Control tokens inside prompts and answers are text: a user who writes `<|im_end|>` ends no turn. Only those of a template count.

Before a template is rendered, a guard is put into every control token that stands in a text (`ControlTokens.guarded`). So those that are
whole in the rendered text are the template's. What lies between them is tokenised with `split_special_tokens`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ser_core.learn.text.reference_text import plain_ids

_GUARD = "\ufdd0"
"""A code point that Unicode keeps free for uses like this one; no text is exchanged with it."""
_PROBE = "a b"


@dataclass(frozen=True, slots=True)
class Control:
    """One control token."""

    number: int
    """Its id."""
    takes_before: bool = False
    """Whether white space before it goes with it."""
    takes_behind: bool = False
    """Whether white space behind it goes with it."""


def control_tokens(tokenizer: Any) -> Mapping[str, Control]:
    """The control tokens of a tokenizer by their text."""
    added = {
        token.content: Control(number, token.lstrip, token.rstrip)
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special
    }
    special = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
    return {text: Control(number) for text, number in special if text} | {text: one for text, one in added.items() if text}


def read_control_tokens_as_text(tokenizer: Any) -> None:
    """Let a tokenizer of text pairs read control tokens in texts as text, and say so in its own files, for everybody who reads these."""
    tokenizer.split_special_tokens = True
    tokenizer.init_kwargs["split_special_tokens"] = True


class ControlTokens:
    """The control tokens of a tokenizer.

    Args:
        tokenizer: A transformers tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens = control_tokens(tokenizer)
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._pieces = re.compile(f"({self._pattern.pattern})")
        self._anchor = "" if self._is_read_alone(_PROBE) else "\n"
        """What a piece behind a control token is tokenised after, so that it gets no space of its own."""

    def guarded(self, text: str) -> str:
        """A text whose control tokens are not whole; one without any is as it was."""
        return text if self._pattern.search(text) is None else self._pattern.sub(_guard, text.replace(_GUARD, ""))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, and none that the tokenizer adds. What `guarded` has made is read as text."""
        found = plain_ids(self._tokenizer, texts)
        return [list(self._ids_by_piece(text)) if _GUARD in text else ids for text, ids in zip(texts, found, strict=True)]

    def read_anyway(self) -> list[str]:
        """Control tokens that the tokenizer finds in texts whatever it is told."""
        unknown = self._tokenizer.unk_token_id
        return [text for text, one in self._tokens.items() if one.number != unknown and one.number in self.ids([self.guarded(text)])[0]]

    def _ids_by_piece(self, text: str) -> Iterator[int]:
        pieces = self._pieces.split(text)
        for place, piece in enumerate(pieces):
            if place % 2:
                yield self._tokens[piece].number
            else:
                yield from self._ids_of_text(self._stripped(piece, pieces[place - 1 : place], pieces[place + 1 : place + 2]), place > 0)

    def _ids_of_text(self, text: str, is_behind: bool) -> list[int]:
        plain = text.replace(_GUARD, "")
        if not plain:
            return []
        if is_behind and self._anchor:
            lead, whole = (_as_text(self._tokenizer, one) for one in (self._anchor, self._anchor + plain))
            if whole[: len(lead)] == lead:
                return whole[len(lead) :]
        return _as_text(self._tokenizer, plain)

    def _stripped(self, text: str, before: Sequence[str], behind: Sequence[str]) -> str:
        """Some control tokens take the white space beside them."""
        text = text.lstrip() if any(self._tokens[one].takes_behind for one in before) else text
        return text.rstrip() if any(self._tokens[one].takes_before for one in behind) else text

    def _is_read_alone(self, text: str) -> bool:
        """Whether a text has the same ids behind a control token as alone."""
        token = next(iter(self._tokens), None)
        if token is None:
            return True
        behind, alone = plain_ids(self._tokenizer, [token + text, text])
        return behind[1:] == alone


def _guard(found: re.Match[str]) -> str:
    return f"{found[0][0]}{_GUARD}{found[0][1:]}"


def _as_text(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return ids
