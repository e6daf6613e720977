"""Scores of answers. A row's score is the same to the last bit whatever else is scored with it, in whatever order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.data.tables import PairScores, PoolPair
from ser_core.errors import QualityError
from ser_core.learn.batching import pad, scoring_batches
from ser_core.learn.encoding import Row
from ser_core.learn.reward_model import RewardModel

_ROWS_IN_MEMORY = 4096


def score_rows(model: RewardModel, rows: Sequence[Row], token_budget: int, stop: Callable[[], None] = lambda: None) -> NDArray[np.float64]:
    """Logits of rows, shape (rows,), in the given order.

    Args:
        model: The reward model.
        rows: Encoded prompts with answers.
        token_budget: ``training.tokensPerBatch``.
        stop: Called before every batch; it may raise.
    """
    scores = np.empty(len(rows), dtype=np.float64)
    budget = model.precision.batch_tokens(token_budget)
    # The outer context, though off, keeps the weights that the trunk's autocast has converted from one batch to the next.
    with torch.no_grad(), torch.autocast(model.precision.device, enabled=False):
        for shape, members in scoring_batches([len(row) for row in rows], budget, model.limit):
            stop()
            batch = pad([rows[index] for index in members], model.tokenizer.pad_token_id, shape)
            scores[members] = model.score(batch)[: len(members)].double().cpu().numpy()
    return scores


def score_pairs(
    model: RewardModel, pairs: Sequence[PoolPair], token_budget: int, stop: Callable[[], None] = lambda: None
) -> tuple[list[PairScores], int]:
    """Scores of both answers of pairs, and how many pairs were truncated.

    Raises:
        QualityError: A score is not finite.
    """
    encoded = model.encoder.pairs([pair.prompt for pair in pairs], [pair.answer_1 for pair in pairs], [pair.answer_2 for pair in pairs])
    scores = score_rows(model, [row for both in encoded for row in both], token_budget, stop).reshape(-1, 2)
    for pair, (score_1, score_2) in zip(pairs, scores, strict=True):
        if not np.isfinite(score_1 + score_2):
            raise QualityError(
                f"pair {pair.id}: the reward model's scores are {score_1} and {score_2}",
                reason="NonFiniteScore",
                hint="lower training.learningRate, or set rewardModel.precision to fp32",
            )
    found = [
        PairScores(pair.id, float(both[0]), float(both[1]), first.answer_tokens, second.answer_tokens)
        for pair, both, (first, second) in zip(pairs, scores, encoded, strict=True)
    ]
    return found, sum(first.truncated or second.truncated for first, second in encoded)


def score_answers(model: RewardModel, rows: Iterable[tuple[str, str]], token_budget: int) -> Iterator[float]:
    """Stream the scores of (prompt, answer) rows in their order; at most 4,096 rows are held in memory."""
    remaining = iter(rows)
    while chunk := list(islice(remaining, _ROWS_IN_MEMORY)):
        encoded = model.encoder.rows([prompt for prompt, _ in chunk], [answer for _, answer in chunk])
        yield from map(float, score_rows(model, encoded, token_budget))
