"""Prompt and answer as token ids.

Encoders (tokenizers with a CLS and a SEP token) read the two as a text pair. All other models read one text that ends with the
end-of-sequence token, whose hidden state is scored (`ser_core.learn.text.reference_text`); or one that a chat template renders
(`ser_core.learn.text.chat_text`).

A row that is too long loses the beginning of its prompt first. Only when the answer alone is too long, it loses its end. What a chat
template puts between the two, the header of the answer's turn, stays in every row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from ser_core.data.reading.dialogues.turns import unmarked
from ser_core.learn.text.chat_text import ChatText
from ser_core.learn.text.control_tokens import ControlTokens
from ser_core.learn.text.long_texts import Tokens, batches, token_ids
from ser_core.learn.text.reference_text import Form, plain_ids, question, reference_text


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt with one answer, ready for the model."""

    tokens: Tokens
    """Token ids, special tokens included, padding not."""
    second: int
    """Position at which the answer starts."""
    answer_tokens: int
    """Length of the answer before truncation."""
    truncated: bool
    segments: bool = True
    """Whether the answer is a second segment, with token type 1, as in a text pair; one text has no second segment."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The special tokens around and between prompt and answer."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    asking: int = 0
    """Tokens at the end of a prompt that stay whatever is cut."""


class Encoder:
    """Turns texts into rows.

    Args:
        tokenizer: A transformers tokenizer.
        max_length: Tokens that a row may have, special tokens included.
        form: How prompt and answer become ids where they are no text pair.

    Raises:
        SpecError: ``ModelNotSupported``: a chat template is asked for, and the tokenizer has none.
    """

    def __init__(self, tokenizer: Any, max_length: int, form: Form) -> None:
        self._tokenizer = tokenizer
        self.reads_pairs = reads_pairs(tokenizer)
        self._marked = form is Form.CHAT
        if form is Form.CHAT:
            self.reads_pairs = False
            text: Any = ChatText(tokenizer)
            self._frame = _Frame(text.before, (), text.after, text.between)
        else:
            self._frame = _pair_frame(tokenizer) if self.reads_pairs else _text_frame(tokenizer)
            text = None if self.reads_pairs else reference_text(tokenizer, self._frame.before, self._frame.after, form)
        reads_words = form in (Form.ONE_TEXT, Form.CHAT) or (self.reads_pairs and tokenizer.split_special_tokens)
        self._control = ControlTokens(tokenizer) if reads_words else None
        self.chat_template = None if text is None else text.template
        """Renders what a row reads, control tokens included; None: text pairs, and ids that no single text has."""
        self._text = None if form is Form.TWO_TEXTS else text
        self.max_length = max_length
        self._room = max_length - sum(map(len, (self._frame.before, self._frame.between, self._frame.after)))

    def rows(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Row]:
        """One row for each prompt and its answer."""
        return [row for (row,) in self._several(prompts, answers)]

    def pairs(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list[tuple[Row, Row]]:
        """Two rows for each prompt and its two answers."""
        return [(one, other) for one, other in self._several(prompts, first, second)]

    def _several(self, prompts: Sequence[str], *answers: Sequence[str]) -> Iterator[tuple[Row, ...]]:
        """The rows of each prompt. Only so many are uncut at a time as memory is small for."""
        for members in batches([sum(map(len, texts)) for texts in zip(prompts, *answers, strict=True)]):
            asked = self._readable([prompts[member] for member in members])
            encoded = self._prompts(asked)
            said = (self._guarded([texts[member] for member in members]) for texts in answers)
            yield from zip(*(self._rows(asked, encoded, texts) for texts in said), strict=True)

    def _readable(self, prompts: Sequence[str]) -> list[str]:
        """Rendered prompts; the marks of their turns are for chat templates alone."""
        return self._guarded(prompts if self._marked else list(map(unmarked, prompts)))

    def _guarded(self, texts: Sequence[str]) -> list[str]:
        return list(texts) if self._control is None else list(map(self._control.guarded, texts))

    def _prompts(self, prompts: Sequence[str]) -> list[Tokens]:
        if self.reads_pairs:
            return self._tokens(prompts)
        return self._tokens(list(map(question if self._text is None else self._text.prompt, prompts)))

    def _rows(self, prompts: Sequence[str], encoded: Sequence[Tokens], answers: Sequence[str]) -> list[Row]:
        if self._text is not None:
            wholes = self._tokens([self._text.whole(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)])
            return [self._row(*self._split(whole, prompt)) for whole, prompt in zip(wholes, encoded, strict=True)]
        texts = [answer.removeprefix(" ") for answer in answers]
        alone = self._tokens(texts if self.reads_pairs else [f" {text}" for text in texts])
        return [self._row(prompt, answer) for prompt, answer in zip(encoded, alone, strict=True)]

    def _split(self, whole: Tokens, prompt: Tokens) -> tuple[Tokens, Tokens]:
        """Prompt and answer in the ids of one text, without its control tokens; a token that holds ends of both is the answer's."""
        start, end = len(self._frame.before), len(whole) - len(self._frame.after)
        cut = common_beginning(whole, prompt)
        return whole[start:cut], whole[cut:end]

    def _tokens(self, texts: Sequence[str]) -> list[Tokens]:
        return token_ids(partial(plain_ids, self._tokenizer) if self._control is None else self._control.ids, texts)

    def _row(self, prompt: Tokens, answer: Tokens) -> Row:
        frame = self._frame
        asking = min(frame.asking, len(prompt), max(0, self._room - 1))
        answer_end = min(len(answer), self._room - asking)
        prompt_start = max(0, len(prompt) + answer_end - self._room)
        kept_prompt = len(prompt) - prompt_start
        parts = (frame.before, prompt[prompt_start:], frame.between, answer[:answer_end], frame.after)
        return Row(
            tokens=np.concatenate([np.asarray(part, dtype=np.int32) for part in parts]),
            second=len(frame.before) + kept_prompt + len(frame.between),
            answer_tokens=len(answer),
            truncated=prompt_start > 0 or answer_end < len(answer),
            segments=self._text is None,
        )


def reads_pairs(tokenizer: Any) -> bool:
    """Whether a model with this tokenizer reads prompt and answer as a text pair."""
    return tokenizer.cls_token_id is not None and tokenizer.sep_token_id is not None


def common_beginning(one: Sequence[int] | Tokens, other: Sequence[int] | Tokens) -> int:
    """Number of ids with which both begin."""
    length = min(len(one), len(other))
    differing = np.flatnonzero(np.asarray(one[:length]) != np.asarray(other[:length]))
    return int(differing[0]) if len(differing) else length


def _pair_frame(tokenizer: Any) -> _Frame:
    before, _, between, _, after = _runs(tokenizer("a", "b", return_special_tokens_mask=True))
    return _Frame(before, between, after)


def _text_frame(tokenizer: Any) -> _Frame:
    # Found by comparison: the mask of special tokens also marks an unknown word, which a word-level tokenizer may find here.
    plain, framed = (tuple(tokenizer("a", add_special_tokens=added)["input_ids"]) for added in (False, True))
    first = next(place for place in range(len(framed)) if framed[place : place + len(plain)] == plain)
    after = framed[first + len(plain) :]
    ends = tokenizer.eos_token_id is None or tokenizer.eos_token_id in after
    return _Frame(framed[:first], (), after if ends else (*after, tokenizer.eos_token_id))


def _runs(probe: Any) -> list[tuple[int, ...]]:
    marked = zip(probe["special_tokens_mask"], probe["input_ids"], strict=True)
    return [tuple(token for _, token in run) for _, run in groupby(marked, key=lambda item: item[0])]
