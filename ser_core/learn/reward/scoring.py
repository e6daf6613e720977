"""Scores of answers. A row's score is the same to the last bit whatever else is scored with it, in whatever order.

With a network in pieces all processes score together: those that have no batch left compute one of no rows.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.api.spec.training import AGAINST_DIVERGENCE
from ser_core.data.tables import PairScores, PoolPair
from ser_core.errors import QualityError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.pieces import in_pieces
from ser_core.learn.reward.batching import Shape, bucket_length, pad, scoring_batches
from ser_core.learn.reward.encoding import Row
from ser_core.learn.reward.reward_model import RewardModel

Scores = NDArray[np.float64]
AfterBatch = Callable[[list[int], Scores], None]


def score_rows(
    model: RewardModel, rows: Sequence[Row], tokens_per_batch: int, after_batch: AfterBatch = lambda rows, scores: None
) -> Scores:
    """Logits of rows, shape (rows,), in the given order.

    Args:
        model: The reward model.
        rows: Encoded prompts with answers.
        tokens_per_batch: ``training.tokensPerBatch``.
        after_batch: Told the indices and the scores of every batch; it may raise. With a network in pieces it is called as often in every
            process, also without rows.
    """
    scores = np.empty(len(rows), dtype=np.float64)
    budget = model.precision.batch_tokens(tokens_per_batch)
    batches = scoring_batches([len(row) for row in rows], budget, model.limit)
    if in_pieces(model.network):
        idle = Shape(1, bucket_length(1, model.limit))
        batches += [(idle, [])] * (ranks.most(len(batches), model.precision.device) - len(batches))
    # The outer context, though off, keeps the weights that the trunk's autocast has converted from one batch to the next.
    with torch.no_grad(), torch.autocast(model.precision.device, enabled=False):
        for shape, members in batches:
            batch = pad([rows[index] for index in members], model.tokenizer.pad_token_id, shape)
            scores[members] = model.score(batch)[: len(members)].double().cpu().numpy()
            after_batch(members, scores[members])
    return scores


def score_pairs(
    model: RewardModel,
    pairs: Sequence[PoolPair],
    tokens_per_batch: int,
    known: Scores,
    after_batch: Callable[[int], None] = lambda rows: None,
    *,
    refuse: bool = True,
) -> tuple[list[PairScores], int]:
    """Scores of both answers of pairs, and how many pairs were truncated.

    Args:
        model: The reward model.
        pairs: What to score.
        tokens_per_batch: ``training.tokensPerBatch``.
        known: Shape (pairs, 2). What is not NaN is known already; the rest is filled in, batch by batch.
        after_batch: Told the number of answers that every batch has scored; it may raise. With a network in pieces the number can be 0.
        refuse: Whether a score that is not finite is an error; else it stays unknown.

    Raises:
        QualityError: A score is not finite.
    """
    encoded = model.encoder.pairs([pair.prompt for pair in pairs], [pair.answer_1 for pair in pairs], [pair.answer_2 for pair in pairs])
    unknown = np.argwhere(np.isnan(known))

    def keep(members: list[int], scores: Scores) -> None:
        where = unknown[members]
        for (pair, _), score in zip(where, scores, strict=True):
            if refuse and not np.isfinite(score):
                raise QualityError(
                    f"pair {pairs[pair].id}: the reward model's score is {score}",
                    reason="NonFiniteScore",
                    hint=AGAINST_DIVERGENCE,
                )
        known[where[:, 0], where[:, 1]] = np.where(np.isfinite(scores), scores, np.nan)
        after_batch(len(members))

    score_rows(model, [encoded[pair][side] for pair, side in unknown], tokens_per_batch, keep)
    found = [
        PairScores(pair.id, float(score_1), float(score_2), first.answer_tokens, second.answer_tokens)
        for pair, (score_1, score_2), (first, second) in zip(pairs, known, encoded, strict=True)
    ]
    return found, sum(first.truncated or second.truncated for first, second in encoded)
