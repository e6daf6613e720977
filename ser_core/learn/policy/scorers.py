"""Who judges the answers. The judge reads texts, so that it may have another tokenizer than the policy."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from ser_core.learn.policy.batches import micro_batches
from ser_core.learn.reward.batching import pad
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.learn.reward.scoring import Scores


class Scorer(Protocol):
    """Scores answers."""

    def scores(self, prompts: Sequence[str], answers: Sequence[str]) -> Scores:
        """Raw scores, in logits, shape (answers,). Equal answers in equal order get equal scores, to the last bit."""
        ...


class RewardModelScorer:
    """Scores with a reward model.

    The stages of the loop compute each row in a shape of its own, so that a score depends on nothing else (`reward.scoring`),
    and fill the last batch of every shape up. For the few answers of a PPO step that would be most of the work; here rows are
    padded to the longest beside them, and may differ from the loop's scores in the last bits.

    Args:
        model: The reward model.
        tokens_per_batch: Tokens of one batch, padding included.
    """

    def __init__(self, model: RewardModel, tokens_per_batch: int) -> None:
        self._model = model
        self._budget = model.precision.batch_tokens(tokens_per_batch)

    def scores(self, prompts: Sequence[str], answers: Sequence[str]) -> Scores:
        """See `Scorer.scores`."""
        rows = self._model.encoder.rows(prompts, answers)
        scores = np.empty(len(rows), dtype=np.float64)
        with torch.no_grad():
            for members in micro_batches([len(row) for row in rows], [0] * len(rows), self._budget):
                batch = pad([rows[member] for member in members], self._model.tokenizer.pad_token_id)
                scores[members] = self._model.score(batch).double().cpu().numpy()
        return scores
