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
class GoodWeights:
    """Weights that the run falls back to when a later step goes wrong: copies in main memory, as `Engine.weights` says."""

    step: int
    """The PPO step after which they were copied; 0: before the first step."""
    policy: Tensors
    critic: Tensors
    """Empty where there is no critic."""


@dataclass(frozen=True, slots=True)
class PPOState:
    """An alignment between two steps. The number of steps in its history is its position in the prompts."""

    good: GoodWeights
    random: RandomStates
    history: tuple[StepMetrics, ...]
    kl_coefficient: float
    ladder: Ladder
    score_mean: float | None
    """Subtracted from raw scores; None: not known before the first step."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a checkpoint holds: a state, and what the engines gathered after its last step."""

    state: PPOState
    policy: Tensors
    """As `Engine.tensors` says: weights and moments, those that this process owns when saved. In one process they are no copies."""
    critic: Tensors
    """The same; empty where there is no critic."""
