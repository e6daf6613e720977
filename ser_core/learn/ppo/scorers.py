"""Who judges the answers. The judge reads texts, so that it may have another tokenizer than the policy."""

from collections.abc import Sequence
from typing import Protocol

from ser_core.learn.reward_model import RewardModel
from ser_core.learn.scoring import Scores, score_rows


class Scorer(Protocol):
    """Scores answers."""

    def scores(self, prompts: Sequence[str], answers: Sequence[str]) -> Scores:
        """Raw scores, in logits, shape (answers,). The score of an answer does not depend on the others."""
        ...


class RewardModelScorer:
    """Scores with a reward model, as the stages of the loop do: the same bits in whatever batch an answer stands.

    Args:
        model: The reward model.
        tokens_per_batch: Tokens of one batch, padding included.
    """

    def __init__(self, model: RewardModel, tokens_per_batch: int) -> None:
        self._model = model
        self._tokens_per_batch = tokens_per_batch

    def scores(self, prompts: Sequence[str], answers: Sequence[str]) -> Scores:
        """See `Scorer.scores`."""
        return score_rows(self._model, self._model.encoder.rows(prompts, answers), self._tokens_per_batch)
