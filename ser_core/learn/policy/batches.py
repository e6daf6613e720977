"""Which prompts a step takes, how a pass is cut into minibatches, and which rows are computed together.

The first two are functions of the seed and the step alone: the same in every process, and nothing that a checkpoint has to hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.learn.reward.batching import epoch_order


def prompts_of_step(step: int, prompts: int, rollouts: int, seed: int) -> NDArray[np.int64]:
    """Numbers of the prompts of a PPO step (from 0), shape (rollouts,). Each pass over the prompts has its own order; none is left out."""
    places = np.arange(step * rollouts, (step + 1) * rollouts)
    orders = {epoch: epoch_order(prompts, seed, epoch) for epoch in np.unique(places // prompts).tolist()}
    return np.array([orders[place // prompts][place % prompts] for place in places.tolist()])


def minibatches(rows: int, parts: int, seed: int, step: int, epoch: int) -> list[NDArray[np.int64]]:
    """Rows of each optimizer step of one pass, over all processes; every row once."""
    return np.array_split(np.random.default_rng([seed, step, epoch]).permutation(rows), min(parts, rows))


def micro_batches(prompts: Sequence[int], answers: Sequence[int], budget: int) -> list[list[int]]:
    """Cut rows into micro-batches, longest first.

    Args:
        prompts: Tokens of each row's prompt.
        answers: Tokens of each row's answer.
        budget: Tokens of a micro-batch, padding included. A row that is longer alone gets one of its own.
    """
    lengths = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


@dataclass(frozen=True, slots=True)
class Sequences:
    """Prompts with their answers right behind them, padded on the right.

    Nothing that a causal model computes for a real token depends on what stands right of it. So there is no attention mask, positions count
    from a row's first token as in generation, and the padding may be any token, the end token too.
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
        """Row and column in ``tokens`` of the state before every real answer token: its predecessor's. Row by row."""
        rows, places = self.answer_mask.nonzero(as_tuple=True)
        return rows, self.prompts[rows] - 1 + places

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Values of all real answer tokens, in the order of `before`, in shape (rows, answer width); 0 at padding."""
        return values.new_zeros(len(self.tokens), self.answer_width).index_put(self.answer_mask.nonzero(as_tuple=True), values)

    def rows(self, chosen: torch.Tensor) -> "Sequences":
        """The chosen rows, at least one, without the columns in which all of them are padding."""
        prompts, answers = self.prompts[chosen], self.answers[chosen]
        width = int((prompts + answers).max())
        return Sequences(self.tokens[chosen, :width], prompts, answers, max(1, int(answers.max())))


def sequences(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], device: str) -> Sequences:
    """Prompts and answers as tensors; both may be none at all."""
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    tokens = np.zeros((len(rows), max(map(len, rows), default=1)), dtype=np.int64)
    for row, content in enumerate(rows):
        tokens[row, : len(content)] = content
    before, behind = (torch.tensor(list(map(len, part)), dtype=torch.int64, device=device) for part in (prompts, answers))
    return Sequences(torch.from_numpy(tokens).to(device), before, behind, max(1, max(map(len, answers), default=1)))
