"""The state of an alignment between two PPO steps: all that a later attempt needs to resume. `checkpoint` writes and reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ser_core.learn.policy.ppo.guards import Ladder
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.random_states import RandomStates

Tensors = Mapping[str, torch.Tensor]
"""Tensors by name of the weight that they belong to."""


@dataclass(frozen=True, slots=True)
class ScoreMoments:
    """Running moments of all raw scores so far (parallel variance, Chan et al.)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared differences from the mean."""

    @property
    def deviation(self) -> float:
        """Standard deviation; 1 where it is unknown or zero."""
        return (self.squares / self.count) ** 0.5 or 1.0 if self.count > 1 else 1.0

    def with_batch(self, count: int, mean: float, variance: float) -> "ScoreMoments":
        """The moments after one more batch."""
        total = self.count + count
        if not total:
            return self
        apart = mean - self.mean
        squares = self.squares + count * variance + apart * apart * self.count * count / total
        return ScoreMoments(total, self.mean + apart * count / total, squares)


@dataclass(frozen=True, slots=True)
class LearnerState:
    """The trained weights of one network, and the state of their Adam optimizer. A weight without an optimizer step has no moments."""

    weights: Tensors
    first_moments: Tensors
    """Adam's running mean of the gradient."""
    second_moments: Tensors
    """Adam's running mean of the squared gradient."""
    steps: Tensors
    """Number of optimizer steps of a weight, shape ()."""


@dataclass(frozen=True, slots=True)
class GoodWeights:
    """Copies of the weights that the run falls back to when a later step goes wrong. They are in main memory."""

    step: int
    """The PPO step after which they were copied; 0: before the first step."""
    policy: Tensors
    critic: Tensors


@dataclass(frozen=True, slots=True)
class PPOState:
    """An alignment between two steps. The number of steps in its history is its position in the prompts."""

    policy: LearnerState
    """Not a copy: the next optimizer step changes its tensors."""
    critic: LearnerState
    """Not a copy: the next optimizer step changes its tensors."""
    good: GoodWeights
    random: RandomStates
    history: tuple[StepMetrics, ...]
    kl_coefficient: float
    scores: ScoreMoments
    ladder: Ladder
    score_mean: float | None
    """Subtracted from raw scores; None: not known before the first step."""
