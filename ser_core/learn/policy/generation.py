"""Prompts and how they are answered. Other engines than transformers fit behind `Generator`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import GenerationConfig

from ser_core.errors import DataError

TEMPLATE = "Question: {prompt}\n\nAnswer:"
"""What the reward model reads before an answer (see `ser_core.learn.reward.encoding`)."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the reward model reads it (text) and as the policy reads it (token ids, at least one)."""

    text: str
    tokens: tuple[int, ...]


class Generator(Protocol):
    """Answers prompts with the policy's present weights."""

    def generate(self, prompts: Sequence[Sequence[int]], *, tokens: int, temperature: float) -> list[list[int]]:
        """Sample one answer for each prompt.

        Args:
            prompts: Token ids without padding.
            tokens: At most that many tokens an answer.
            temperature: What logits are divided by. The samples must come from that distribution, whole and unaltered.

        Returns:
            Token ids of the answers alone. What stands after the first end token is cut off by the caller.
        """
        ...


class TransformersGenerator:
    """HF generate: portable, slow.

    Args:
        network: The policy's network itself, so that its weights are always the present ones.
        pad_token: What to pad prompts with; any token, since it is masked.
        end_tokens: Rows stop there; the token itself is kept.
        device: Where the network is.
        autocast: Type of its products; None: fp32.
        rows: Prompts that are answered together; it bounds the memory of the cache.
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
        # A model's own generation settings (top-p, repetition penalty, ...) sample from another distribution than the one that learns.
        own, self._network.generation_config = self._network.generation_config, GenerationConfig()
        try:
            answers: list[list[int]] = [[] for _ in prompts]
            order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))  # prompts of one length need no padding
            for start in range(0, len(order), self._rows):
                chosen = order[start : start + self._rows]
                for number, answer in zip(chosen, self._together([prompts[one] for one in chosen], tokens, temperature), strict=True):
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
        with torch.autocast(self._device, dtype=self._autocast, enabled=self._autocast is not None):
            found = self._network.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        answers: list[list[int]] = found[:, width:].tolist()
        return answers


def until_end(answer: Sequence[int], ends: Sequence[int]) -> tuple[list[int], bool]:
    """The answer up to its first end token, which it keeps, and whether there is one."""
    for place, token in enumerate(answer):
        if token in ends:
            return list(answer[: place + 1]), True
    return list(answer), False


def encode_prompts(tokenizer: Any, texts: Sequence[str], *, tokens: int, template: str = TEMPLATE) -> list[Prompt]:
    """Prompts for the policy; those that are too long lose their beginning. The tokenizer's first token is kept, its end token not added.

    Args:
        tokenizer: The policy's.
        texts: Prompts as the reward model reads them.
        tokens: At most that many tokens a prompt.
        template: Has the place ``{prompt}``.

    Raises:
        DataError: A prompt has no tokens: nothing would stand before the first token of its answer.
    """
    begins = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    start = (tokenizer.bos_token_id,) if begins else ()
    found = []
    for number, text in enumerate(texts):
        ids = tokenizer(template.replace("{prompt}", text), add_special_tokens=False, verbose=False)["input_ids"]
        if not start and not ids:
            raise DataError(f"prompt {number} has no tokens", reason="EmptyPrompt", hint="leave it out")
        room = tokens - len(start)
        found.append(Prompt(text, (*start, *ids[max(0, len(ids) - room) :])))
    return found
