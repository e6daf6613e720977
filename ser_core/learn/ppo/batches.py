"""Which prompts a step takes, how a pass is cut into minibatches, and which rows are computed together.

The first two are functions of the seed and the step alone: the same in every process, and nothing that a checkpoint has to hold.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.learn.batching import epoch_order
from ser_core.learn.ppo.policy import Sequences


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
    batches: list[list[int]] = []
    for row in sorted(range(len(prompts)), key=lambda row: (-prompts[row] - answers[row], row)):
        together = [*batches[-1], row] if batches else []
        width = max((prompts[one] for one in together), default=0) + max((answers[one] for one in together), default=0)
        if together and width * len(together) <= budget:
            batches[-1] = together
        else:
            batches.append([row])
    return batches


def sequences(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], device: str) -> Sequences:
    """Prompts padded on the left, answers on the right. An empty answer is a row without real answer tokens."""
    prompt_width, answer_width = max(map(len, prompts), default=1), max(1, max(map(len, answers), default=1))
    tokens = np.zeros((len(prompts), prompt_width + answer_width), dtype=np.int64)
    mask = np.zeros_like(tokens, dtype=bool)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        columns = slice(prompt_width - len(prompt), prompt_width + len(answer))
        tokens[row, columns], mask[row, columns] = [*prompt, *answer], True
    return Sequences(torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device), prompt_width)
