"""The results of each phase of a PPO step, and the numbers of the whole step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.learn.compute import ranks
from ser_core.learn.policy.batches import Sequences
from ser_core.learn.policy.ppo import arithmetic
from ser_core.learn.policy.ppo.guards import Action, Ladder
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.repetition import digest, repeated_triples, triple_numbers
from ser_core.learn.policy.ppo.state import PPOState


@dataclass(frozen=True, slots=True)
class Rollout:
    """The result of a step's rollout in this process. Tensors have shape (rows,) or (rows, answer width)."""

    rows: NDArray[np.int64]
    """Numbers of this process's rows among the rows of all processes."""
    batch: Sequences
    """Prompts and answers."""
    ended: torch.Tensor
    """Whether an answer has an end token, shape (rows,)."""
    scores: torch.Tensor
    """Raw scores of the reward model that the policy learns from, shape (rows,), fp64."""
    witness_scores: torch.Tensor | None
    """Raw scores of the witness, shape (rows,), fp64; None: there is no witness."""
    old: torch.Tensor
    """Log-probabilities of the policy that sampled the answers."""
    reference: torch.Tensor
    """Log-probabilities of the reference policy."""
    values: torch.Tensor | None
    """Values of the critic; None: there is none."""
    score_mean: float
    """Subtracted from the raw scores."""
    generate_seconds: float
    score_seconds: float

    def finite(self) -> bool:
        """Whether all numbers of all processes are finite."""
        numbers = [one for one in (self.scores, self.old, self.reference, self.values) if one is not None]
        return not ranks.anywhere(not all(bool(values.isfinite().all()) for values in numbers), str(self.old.device.type))


@dataclass(frozen=True, slots=True)
class Experience:
    """What the updates of one step learn from. All tensors have shape (rows, answer width)."""

    rewards: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor | None
    """Targets of the critic; None: there is none."""


@dataclass(frozen=True, slots=True)
class Update:
    """One optimizer step, over all processes. Losses, KL divergence and clipped share are means over its tokens."""

    policy_loss: float = math.nan
    approximate_kl: float = math.nan
    clipped: float = math.nan
    value_loss: float = math.nan
    policy_norm: float = math.nan
    critic_norm: float = math.nan
    action: Action | None = None
    """None: the step was not taken, because the updates ended early (``step_kl_limit``)."""

    @property
    def finite(self) -> bool:
        """Whether losses and gradients are finite. Without a critic its loss and norm are 0."""
        return all(map(math.isfinite, (self.policy_loss, self.value_loss, self.policy_norm, self.critic_norm)))


def step_metrics(
    rollout: Rollout, experience: Experience, updates: Sequence[Update], state: PPOState, ladder: Ladder, train_seconds: float
) -> StepMetrics:
    """The numbers of one step, over all processes.

    Args:
        rollout: The step's rollout in this process.
        experience: What the updates learnt from.
        updates: The optimizer steps.
        state: The state before the step.
        ladder: The ladder after the step.
        train_seconds: Seconds of advantages and updates.
    """
    mask = rollout.batch.answer_mask
    witness = rollout.witness_scores
    texts = _answers(rollout.batch)
    local = [
        torch.tensor(len(rollout.scores)),
        experience.rewards.sum(),
        rollout.scores.sum(),
        witness.sum() if witness is not None else torch.tensor(math.nan),
        (rollout.old - rollout.reference).sum(),
        -rollout.old.sum(),
        rollout.batch.answers.sum(),
        rollout.ended.sum(),
        torch.tensor(sum(map(repeated_triples, texts))),
    ]
    answers, *totals = ranks.total(torch.stack([one.double().to(mask.device) for one in local])).tolist()
    reward, score, witness_score, kl, _, answer_tokens, ended, repeated = (total / answers for total in totals)
    tokens = max(1.0, totals[5])
    taken = [update for update in updates if update.action is Action.PROCEED]
    critic = experience.returns is not None
    return StepMetrics(
        step=len(state.history) + 1,
        reward=reward,
        score=score,
        witness_score=witness_score if math.isfinite(witness_score) else None,
        kl=kl,
        kl_coefficient=state.kl_coefficient,
        entropy=totals[4] / tokens,
        answer_tokens=answer_tokens,
        ended=ended,
        policy_loss=_mean([update.policy_loss for update in taken]),
        value_loss=_mean([update.value_loss for update in taken]) if critic else None,
        approximate_kl=updates[-1].approximate_kl if updates else math.nan,
        clipped=_mean([update.clipped for update in taken]),
        explained_variance=_explained_variance(rollout, experience),
        policy_gradient_norm=_mean([update.policy_norm for update in taken]),
        critic_gradient_norm=_mean([update.critic_norm for update in taken]) if critic else None,
        updates=len(taken),
        skipped=sum(update.action not in {None, Action.PROCEED} for update in updates),
        rolled_back=bool(updates) and updates[-1].action is Action.ROLL_BACK,
        ended_early=bool(updates) and updates[-1].action is None,
        rate_factor=ladder.rate_factor,
        generate_seconds=rollout.generate_seconds,
        score_seconds=rollout.score_seconds,
        train_seconds=train_seconds,
        distinct=_distinct(rollout, texts, int(answers)),
        repeated=repeated,
        distinct_triples=_distinct_triples(texts, mask.device),
    )


def _answers(batch: Sequences) -> list[list[int]]:
    """Token ids of this process's answers, end token included."""
    ends = zip(batch.tokens.tolist(), batch.prompts.tolist(), batch.answers.tolist(), strict=True)
    return [row[start : start + length] for row, start, length in ends]


def _distinct(rollout: Rollout, texts: Sequence[Sequence[int]], answers: int) -> float:
    digests = torch.zeros(answers, dtype=torch.int64)
    digests[torch.from_numpy(rollout.rows)] = torch.tensor([*map(digest, texts)], dtype=torch.int64)
    return len(ranks.total(digests.to(rollout.batch.tokens.device)).unique()) / answers


def _distinct_triples(texts: Sequence[Sequence[int]], device: torch.device) -> float | None:
    mine = torch.tensor([number for text in texts for number in triple_numbers(text)], dtype=torch.int64, device=device)
    filled = torch.nn.functional.pad(mine, (0, ranks.most(len(mine), str(device)) - len(mine)), value=-1)
    numbers = ranks.collect(filled)
    known = numbers[numbers >= 0]
    return len(known.unique()) / len(known) if len(known) else None


def _explained_variance(rollout: Rollout, experience: Experience) -> float | None:
    if experience.returns is None or rollout.values is None:
        return None
    mask = rollout.batch.answer_mask
    unexplained = arithmetic.moments(experience.returns - rollout.values, mask)[1]
    return (1 - unexplained / arithmetic.moments(experience.returns, mask)[1]).item()


def _mean(numbers: Sequence[float]) -> float:
    return fmean(numbers) if numbers else math.nan
