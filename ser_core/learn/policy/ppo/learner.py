"""The networks in training: their weights, their optimizers, and how both are kept and put back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import set_rate
from ser_core.learn.policy.ppo.state import GoodWeights, LearnerState, Tensors


@dataclass(frozen=True, slots=True)
class Learner:
    """The trained weights of one network by name, with their AdamW optimizer and its learning rate."""

    weights: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    rate: float

    def clip_gradients(self, largest_norm: float) -> float:
        """Sum the gradients over all processes and scale them down to ``largest_norm``; returns their norm before that."""
        ranks.sum_gradients(self.weights.values())
        return clip_grad_norm_(self.weights.values(), largest_norm).item()

    def step(self, rate_factor: float) -> None:
        """Take one optimizer step. Weights without a gradient stay."""
        set_rate(self.optimizer, rate_factor * self.rate)
        self.optimizer.step()

    def state(self) -> LearnerState:
        """Weights and optimizer state, not copied."""
        moments = {name: self.optimizer.state[weight] for name, weight in self.weights.items() if weight in self.optimizer.state}
        return LearnerState(
            weights={name: weight.detach() for name, weight in self.weights.items()},
            first_moments={name: adam["exp_avg"] for name, adam in moments.items()},
            second_moments={name: adam["exp_avg_sq"] for name, adam in moments.items()},
            steps={name: adam["step"] for name, adam in moments.items()},
        )

    def restore(self, state: LearnerState) -> None:
        """Put weights and optimizer state back, as copies."""
        self.put_back(state.weights)
        adam = {"step": state.steps, "exp_avg": state.first_moments, "exp_avg_sq": state.second_moments}
        for name, weight in self.weights.items():
            if name in state.steps:
                self.optimizer.state[weight] = {key: tensors[name].to(weight.device, copy=True) for key, tensors in adam.items()}

    def copied_weights(self) -> dict[str, torch.Tensor]:
        """Copies of the weights in main memory."""
        return {name: weight.detach().to("cpu", copy=True) for name, weight in self.weights.items()}

    def put_back(self, weights: Tensors) -> None:
        """Put weights back. The optimizer starts anew, because its moments belong to other weights."""
        self.optimizer.state.clear()
        for name, weight in self.weights.items():
            weight.data.copy_(weights[name])


@dataclass(frozen=True, slots=True)
class Learners:
    """The learners of policy and critic."""

    policy: Learner
    critic: Learner

    @property
    def both(self) -> tuple[Learner, Learner]:
        """In the order in which all processes treat them."""
        return self.policy, self.critic

    def good_weights(self, step: int) -> GoodWeights:
        """Copies of the current weights, which are those after ``step``."""
        return GoodWeights(step, self.policy.copied_weights(), self.critic.copied_weights())

    def fall_back(self, good: GoodWeights) -> None:
        """Put the good weights back; both optimizers start anew."""
        self.policy.put_back(good.policy)
        self.critic.put_back(good.critic)


def new_learner(weights: Iterable[tuple[str, nn.Parameter]], rate: float, epsilon: float) -> Learner:
    """A learner that starts with a new AdamW optimizer, without weight decay.

    Args:
        weights: Names and weights that are trained.
        rate: Learning rate.
        epsilon: Adam's epsilon.
    """
    named = dict(weights)
    return Learner(named, torch.optim.AdamW(named.values(), lr=rate, eps=epsilon, weight_decay=0.0, fused=True), rate)
