"""Scorers of answers. A scorer reads texts, so its tokenizer can differ from the policy's."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from ser_core.learn.compute import ranks
from ser_core.learn.compute.pieces import Pieces, in_pieces
from ser_core.learn.reward.batching import Shape, micro_batches, pad
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.learn.reward.scoring import Scores


class Scorer(Protocol):
    """Gives every answer a score."""

    def scores(self, prompts: Sequence[str], answers: Sequence[str]) -> Scores:
        """Raw scores in logits, shape (answers,). The same answers in the same order get the same scores, bit for bit."""
        ...


class RewardModelScorer:
    """Scores answers with a reward model.

    Here the rows of a batch are padded to the longest of them, so the last bits of a score depend on the other rows of its batch. The
    stages of the loop avoid that (`reward.scoring`): they batch rows of equal shape and fill up the last batch of each shape. For the few
    answers of a PPO step, filling up would be most of the work.

    Args:
        model: The reward model. With one in pieces all processes score together.
        tokens_per_batch: Tokens of one batch, padding included.
        cut: Whether each of several processes keeps a piece of the model alone. Then all of them score at the same time.
        offload: Whether the pieces are in main memory.
    """

    def __init__(self, model: RewardModel, tokens_per_batch: int, *, cut: bool = False, offload: bool = False) -> None:
        self._model = model
        self._pieces = Pieces(model.network, model.precision.device, cut=cut, offload=offload)
        self._budget = model.precision.batch_tokens(tokens_per_batch)

    def scores(self, prompts: Sequence[str], answers: Sequence[str]) -> Scores:
        """See `Scorer.scores`."""
        rows = self._model.encoder.rows(prompts, answers)
        scores = np.empty(len(rows), dtype=np.float64)
        with torch.no_grad(), self._pieces.whole():
            for members in self._batches([len(row) for row in rows]):
                batch = pad([rows[member] for member in members], self._model.tokenizer.pad_token_id, None if members else Shape(1, 1))
                scores[members] = self._model.score(batch)[: len(members)].double().cpu().numpy()
        return scores

    def cut(self, prompts: Sequence[str], answers: Sequence[str]) -> int:
        """How many of the answers it does not read whole with their prompts. What it does not read changes no score."""
        return sum(row.truncated for row in self._model.encoder.rows(prompts, answers))

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Rows of each batch. With a model in pieces all processes have equally many; one without rows fills up."""
        batches = micro_batches(lengths, self._budget, rows=1)
        idle = ranks.most(len(batches), self._model.precision.device) - len(batches) if in_pieces(self._model.network) else 0
        return batches + [[]] * idle
