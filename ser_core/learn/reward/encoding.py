"""Prompt and answer as token ids.

Encoders (tokenizers with a CLS and a SEP token) read the two as a text pair. All other models read
``Question: <prompt>\\n\\nAnswer: <answer>`` and the end-of-sequence token, whose hidden state is scored; that is the template of
the method's released code. Chat templates are left alone: they insert dates and system prompts, and dialogues carry their roles
as text.

A row that is too long loses the beginning of its prompt first. Only when the answer alone is too long, it loses its end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt with one answer, ready for the model."""

    tokens: Tokens
    """Token ids, special tokens included, padding not."""
    second: int
    """Position at which the second segment (the answer) starts."""
    answer_tokens: int
    """Length of the answer before truncation."""
    truncated: bool

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The special tokens around and between prompt and answer."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]


class Encoder:
    """Turns texts into rows.

    Args:
        tokenizer: A transformers tokenizer.
        max_length: Tokens that a row may have, special tokens included.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer = tokenizer
        self._reads_pairs = tokenizer.cls_token_id is not None and tokenizer.sep_token_id is not None
        self._frame = _pair_frame(tokenizer) if self._reads_pairs else _text_frame(tokenizer)
        self.max_length = max_length
        self._room = max_length - sum(map(len, (self._frame.before, self._frame.between, self._frame.after)))

    def rows(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Row]:
        """One row for each prompt and its answer."""
        return [self._row(prompt, answer) for prompt, answer in zip(self._prompts(prompts), self._answers(answers), strict=True)]

    def pairs(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list[tuple[Row, Row]]:
        """Two rows for each prompt and its two answers; every prompt is tokenised once."""
        texts = zip(self._prompts(prompts), self._answers(first), self._answers(second), strict=True)
        return [(self._row(prompt, answer_1), self._row(prompt, answer_2)) for prompt, answer_1, answer_2 in texts]

    def _prompts(self, prompts: Sequence[str]) -> Iterator[Tokens]:
        return self._tokens(prompts if self._reads_pairs else [f"Question: {prompt}\n\nAnswer:" for prompt in prompts])

    def _answers(self, answers: Sequence[str]) -> Iterator[Tokens]:
        return self._tokens(answers if self._reads_pairs else [f" {answer}" for answer in answers])

    def _tokens(self, texts: Sequence[str]) -> Iterator[Tokens]:
        if not texts:
            return iter(())
        ids = self._tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        return (np.asarray(one, dtype=np.int32) for one in ids)

    def _row(self, prompt: Tokens, answer: Tokens) -> Row:
        frame = self._frame
        answer_end = min(len(answer), self._room)
        prompt_start = max(0, len(prompt) + answer_end - self._room)
        kept_prompt = len(prompt) - prompt_start
        parts = (frame.before, prompt[prompt_start:], frame.between, answer[:answer_end], frame.after)
        return Row(
            tokens=np.concatenate([np.asarray(part, dtype=np.int32) for part in parts]),
            second=len(frame.before) + kept_prompt + len(frame.between),
            answer_tokens=len(answer),
            truncated=prompt_start > 0 or answer_end < len(answer),
        )


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
