"""Two filters that no run can have: only right labels, and any labels. They separate what is chosen from how much."""

import random
from collections.abc import Mapping, Sequence

import numpy as np

from ser_core.data.tables import Decision, EvaluatedPair, HiddenLabel, LabeledPair, PoolPair
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.learn.reward.scoring import score_pairs

BANDS = 5


def oracle(decisions: Sequence[Decision], truth: Mapping[str, int]) -> dict[str, int]:
    """As many self-labels as the rule kept, the surest first, but only right ones; fewer where there are not so many."""
    right = [one for one in decisions if one.better == truth[one.id]]
    return _labels(sorted(right, key=lambda one: -one.confidence)[: _kept(decisions)])


def at_random(decisions: Sequence[Decision], seed: int) -> dict[str, int]:
    """As many self-labels as the rule kept, any."""
    return _labels(random.Random(seed).sample([*decisions], _kept(decisions)))


def precision_by_band(decisions: Sequence[Decision]) -> list[float | None]:
    """Share of right self-labels in `BANDS` bands of as many pairs each, from the least to the most confident; None: an empty band."""
    ordered = sorted(decisions, key=lambda one: one.confidence)
    bands = [ordered[len(ordered) * band // BANDS : len(ordered) * (band + 1) // BANDS] for band in range(BANDS)]
    return [sum(bool(one.agrees) for one in band) / len(band) if band else None for band in bands]


def evaluated(model: RewardModel, pairs: Sequence[LabeledPair], tokens_per_batch: int) -> list[EvaluatedPair]:
    """Its scores of labelled pairs."""
    unlabeled = [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, pair.source) for pair in pairs]
    scores, _ = score_pairs(model, unlabeled, tokens_per_batch, np.full((len(pairs), 2), np.nan))
    return [
        EvaluatedPair(pair.id, pair.source, one.score_1, one.score_2, one.tokens_1, one.tokens_2)
        for pair, one in zip(pairs, scores, strict=True)
    ]


def truth_of(hidden: Sequence[HiddenLabel]) -> dict[str, int]:
    """The human label of each pair of the pool."""
    return {one.id: one.better for one in hidden}


def _kept(decisions: Sequence[Decision]) -> int:
    return sum(one.kept for one in decisions)


def _labels(decisions: Sequence[Decision]) -> dict[str, int]:
    return {one.id: one.better for one in decisions}
