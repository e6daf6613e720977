"""Prompts, and the generators that sample answers to them. `Generator` is what an engine has to offer; transformers is one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import GenerationConfig

from ser_core.data.reading.dialogues.turns import unmarked
from ser_core.errors import DataError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.pieces import in_pieces
from ser_core.learn.compute.whole_copy import WholeCopy
from ser_core.learn.text.chat_text import ChatText, chat_text_of, writes_its_begin
from ser_core.learn.text.control_tokens import ControlTokens
from ser_core.learn.text.long_texts import token_ids
from ser_core.learn.text.reference_text import Form, ReferenceText, question, reference_text

TEMPLATE = question("{prompt}")
"""The text before an answer, the same as the reward model reads."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt: its text, its turns marked, which the reward model reads; and its token ids (at least one), which the policy reads."""

    text: str
    tokens: tuple[int, ...]


class Generator(Protocol):
    """Samples answers with the policy's current weights."""

    def generate(self, prompts: Sequence[Sequence[int]], *, tokens: int, temperature: float) -> list[list[int]]:
        """Sample one answer for each prompt.

        Args:
            prompts: Token ids without padding.
            tokens: Length of the longest answer, in tokens.
            temperature: Divisor of the logits. The samples must come from exactly that distribution: no top-k, no top-p, no penalty.

        Returns:
            Token ids of the answers, without those of the prompts. The caller cuts an answer after its first end token.
        """
        ...


class TransformersGenerator:
    """``generate`` of transformers: it runs everywhere, and it is slow.

    Args:
        network: The policy's network itself, so that its weights are always the current ones. With one in pieces all processes generate
            together, until the longest answer of all of them is written.
        pad_token: Token that prompts are padded with. It can be any token, since padding is masked.
        end_tokens: Tokens that end an answer; the answer keeps its end token.
        device: Device of the network.
        autocast: Type of the matrix products; None: fp32.
        rows: Prompts that are answered together. It limits the memory of the cache.
    """

    def __init__(
        self, network: Any, *, pad_token: int, end_tokens: tuple[int, ...], device: str, autocast: torch.dtype | None = None, rows: int = 64
    ) -> None:
        self._network = network
        self._pad = pad_token
        self._ends = end_tokens
        self._device = device
        self._autocast = autocast
        self._rows = rows

    def generate(self, prompts: Sequence[Sequence[int]], *, tokens: int, temperature: float) -> list[list[int]]:
        """See `Generator.generate`."""
        # With the model's own generation settings (top-p, repetition penalty, ...) the samples would not come from the policy that learns.
        own, self._network.generation_config = self._network.generation_config, GenerationConfig()
        try:
            answers: list[list[int]] = [[] for _ in prompts]
            order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))  # prompts of one length need no padding
            batches = [order[start : start + self._rows] for start in range(0, len(order), self._rows)]
            if in_pieces(self._network):
                batches += [[]] * (ranks.most(len(batches), self._device) - len(batches))
            for chosen in batches:
                found = self._together([prompts[one] for one in chosen] or [[self._pad]], tokens, temperature)
                for number, answer in zip(chosen, found, strict=False):
                    answers[number] = answer
            return answers
        finally:
            self._network.generation_config = own

    @torch.no_grad()
    def _together(self, prompts: Sequence[Sequence[int]], tokens: int, temperature: float) -> list[list[int]]:
        width = max(map(len, prompts))
        ids = torch.tensor([[self._pad] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=self._device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self._device)
        settings = GenerationConfig(
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=tokens,
            pad_token_id=self._pad,
            eos_token_id=list(self._ends),
        )
        together = in_pieces(self._network)
        with torch.autocast(self._device, dtype=self._autocast, enabled=self._autocast is not None, cache_enabled=not together):
            found = self._network.generate(input_ids=ids, attention_mask=mask, generation_config=settings, synced_gpus=together)
        answers: list[list[int]] = found[:, width:].tolist()
        return answers


class CopyGenerator:
    """Generates with a whole copy of a network whose weights are cut into pieces.

    Args:
        copy: Filled with the network's current weights for each call. All processes call together.
        generator: Samples with the copy's network.
    """

    def __init__(self, copy: WholeCopy, generator: Generator) -> None:
        self._copy = copy
        self._generator = generator

    def generate(self, prompts: Sequence[Sequence[int]], *, tokens: int, temperature: float) -> list[list[int]]:
        """See `Generator.generate`."""
        with self._copy.filled():
            return self._generator.generate(prompts, tokens=tokens, temperature=temperature)


def until_end(answer: Sequence[int], ends: Sequence[int]) -> tuple[list[int], bool]:
    """The answer up to and with its first end token, and whether it has an end token."""
    for place, token in enumerate(answer):
        if token in ends:
            return list(answer[: place + 1]), True
    return list(answer), False


def encode_prompts(tokenizer: Any, texts: Sequence[str], *, tokens: int) -> list[Prompt]:
    """Encode prompts for the policy.

    Around each stands `TEMPLATE`, or the chat template that the tokenizer learns with. Control tokens inside a prompt are text. One that is
    too long loses its beginning, but keeps the tokenizer's begin-of-sequence token. No end token is added.

    Args:
        tokenizer: The policy's tokenizer.
        texts: Texts of the prompts.
        tokens: Length of the longest prompt, in tokens.

    Raises:
        DataError: A prompt has no tokens, so the first token of its answer would have no predecessor.
    """
    chat, control, start = chat_text_of(tokenizer), ControlTokens(tokenizer), _start(tokenizer)
    found = []
    for number, text in enumerate(texts):
        said = control.guarded(text)
        (ids,) = token_ids(control.ids, [TEMPLATE.replace("{prompt}", unmarked(said)) if chat is None else chat.prompt(said)])
        if chat is not None:
            start = tuple(ids[: len(chat.before)].tolist())
            ids = ids[len(start) :]
        if not start and not len(ids):
            raise DataError(f"prompt {number} has no tokens", reason="EmptyPrompt", hint="remove this prompt from the data")
        room = tokens - len(start)
        found.append(Prompt(text, (*start, *ids[max(0, len(ids) - room) :].tolist())))
    return found


def policy_text(tokenizer: Any, form: Form = Form.ONE_TEXT) -> ReferenceText | ChatText | None:
    """The text of prompt, answer and end token whose first ids are those of `encode_prompts`; None: there is no such text."""
    if (chat := chat_text_of(tokenizer)) is not None:
        return chat
    end = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
    return reference_text(tokenizer, _start(tokenizer), end, form)


def _start(tokenizer: Any) -> tuple[int, ...]:
    return (tokenizer.bos_token_id,) if writes_its_begin(tokenizer) else ()
