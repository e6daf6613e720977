"""Two filters that no run can have: only right labels, and any labels. They separate what is chosen from how much."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.reward_model import Quiet
from ser_core.api.serrun import SERRunSpec
from ser_core.data.tables import Decision, EvaluatedPair, HiddenLabel, LabeledPair, PoolPair
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.scoring import score_pairs
from ser_core.learn.reward.training import TrainingPair, count_steps, train

BANDS = 5


@dataclass(frozen=True, slots=True)
class Label:
    """What is learnt of a pair of the pool."""

    better: int
    target: float = 1.0
    """Chance that it is the better answer."""
    weight: float = 1.0


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


def trained_on(
    base: Path, spec: SERRunSpec, seed_pairs: Sequence[LabeledPair], labels: Mapping[str, Label], pool: Sequence[PoolPair]
) -> RewardModel:
    """A reward model from human labels and ``labels`` of the pool, by the run's own settings; every human label has weight 1."""
    model = load(
        base, Precision("cpu"), max_length=spec.reward_model.max_length, seed=spec.training.seed, adapter=spec.reward_model.adapter
    )
    chosen = [(pair, labels[pair.id]) for pair in pool if pair.id in labels]
    prompts = [pair.prompt for pair in seed_pairs] + [pair.prompt for pair, _ in chosen]
    better = [pair.chosen for pair in seed_pairs] + [pair.answer_1 if label.better == 1 else pair.answer_2 for pair, label in chosen]
    worse = [pair.rejected for pair in seed_pairs] + [pair.answer_2 if label.better == 1 else pair.answer_1 for pair, label in chosen]
    taught = [Label(1)] * len(seed_pairs) + [label for _, label in chosen]
    encoded = model.encoder.pairs(prompts, better, worse)
    rows = [TrainingPair(*both, label.target, label.weight) for both, label in zip(encoded, taught, strict=True)]
    train(model, rows, spec.training, steps=count_steps(len(rows), spec.training), watch=Quiet())
    return model


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
