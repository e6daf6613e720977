"""The prompts of a step, the minibatches of an epoch, and the sequences that are computed together.

Prompts and minibatches depend on the seed and the step alone. So they are the same in every process, and a checkpoint need not hold them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.learn.reward.batching import epoch_order


def prompts_of_step(step: int, prompts: int, answers: int, seed: int) -> NDArray[np.int64]:
    """Numbers of the prompts that a PPO step (from 0) answers, shape (answers,).

    Each pass over the prompts has an order of its own, and takes every prompt once.
    """
    places = np.arange(step * answers, (step + 1) * answers)
    orders = {epoch: epoch_order(prompts, seed, epoch) for epoch in np.unique(places // prompts).tolist()}
    return np.array([orders[place // prompts][place % prompts] for place in places.tolist()])


def minibatches(rows: int, parts: int, seed: int, step: int, epoch: int) -> list[NDArray[np.int64]]:
    """Rows of each optimizer step of one epoch, over all processes. Every row belongs to one of them."""
    return np.array_split(np.random.default_rng([seed, step, epoch]).permutation(rows), min(parts, rows))


@dataclass(frozen=True, slots=True)
class Sequences:
    """Prompts, each followed by its answer and then by padding.

    A causal model computes nothing for a real token from the tokens to its right. So no attention mask is needed, positions count from
    the row's first token as they do in generation, and any token can be the padding, also the end token.
    """

    tokens: torch.Tensor
    """Shape (rows, width)."""
    prompts: torch.Tensor
    """Tokens of each prompt, at least one; shape (rows,)."""
    answers: torch.Tensor
    """Tokens of each answer, end token included; shape (rows,). An answer may be empty."""
    answer_width: int
    """The longest answer, and at least 1."""

    @property
    def answer_mask(self) -> torch.Tensor:
        """True at real answer tokens, shape (rows, answer width)."""
        return torch.arange(self.answer_width, device=self.tokens.device) < self.answers.unsqueeze(-1)

    @property
    def before(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Row and column in ``tokens`` of the token before every real answer token, row by row. Its hidden state predicts that token."""
        rows, places = self.answer_mask.nonzero(as_tuple=True)
        return rows, self.prompts[rows] - 1 + places

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Bring one value for each real answer token, in the order of `before`, into shape (rows, answer width); 0 at padding."""
        return values.new_zeros(len(self.tokens), self.answer_width).index_put(self.answer_mask.nonzero(as_tuple=True), values)

    def rows(self, chosen: torch.Tensor) -> "Sequences":
        """The chosen rows, at least one. Columns in which all of them have padding are left out."""
        prompts, answers = self.prompts[chosen], self.answers[chosen]
        width = int((prompts + answers).max())
        return Sequences(self.tokens[chosen, :width], prompts, answers, max(1, int(answers.max())))


def sequences(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], device: str) -> Sequences:
    """Prompts and answers as tensors. There may be no row at all."""
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    tokens = np.zeros((len(rows), max(map(len, rows), default=1)), dtype=np.int64)
    for row, content in enumerate(rows):
        tokens[row, : len(content)] = content
    before, behind = (torch.tensor(list(map(len, part)), dtype=torch.int64, device=device) for part in (prompts, answers))
    return Sequences(torch.from_numpy(tokens).to(device), before, behind, max(1, max(map(len, answers), default=1)))
