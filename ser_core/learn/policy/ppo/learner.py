"""The networks in training: their engines, and how their weights are kept and put back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ser_core.learn.compute import ranks
from ser_core.learn.compute.distributed import engine_for, training_of_network
from ser_core.learn.compute.engine import AdamSettings
from ser_core.learn.compute.parts import trainable
from ser_core.learn.compute.pieces import in_pieces, learn_all
from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy.ppo.state import GoodWeights, PPOState, SavedState
from ser_core.memory.activations import MicroBatch
from ser_core.memory.training import Sharding


@dataclass(frozen=True, slots=True)
class HowToLearn:
    """What policy and critic have in common."""

    adam: AdamSettings
    sharding: Sharding
    precision: Precision
    batch: MicroBatch
    """The largest that a process computes at once."""


class Learner:
    """One network in training. With several processes every method is collective.

    Args:
        network: Plain, and all processes get the weights of rank 0; or in pieces (`pieces.cut_all`).
        rate: Learning rate.
        how: What it has in common with the other.
        tensors: Of a checkpoint, as `Engine.tensors` returned them.
    """

    def __init__(self, network: Any, rate: float, how: HowToLearn, tensors: Mapping[str, torch.Tensor] | None) -> None:
        if in_pieces(network) and not dict(trainable(network)):
            learn_all(network)
        else:
            network.to(how.precision.device)
            ranks.spread(weight for _, weight in trainable(network))
        sizes = training_of_network(network, how.batch)
        self.engine = engine_for(network, rate, tensors, sizes, how.precision, how.sharding, how.adam)
        self._rate = rate

    def step(self, rate_factor: float) -> float:
        """Take one optimizer step; returns the gradient's norm before it was clipped. A norm that is not finite changes nothing."""
        return self.engine.step(rate_factor * self._rate)


@dataclass(frozen=True, slots=True)
class Learners:
    """The learners of policy and critic."""

    policy: Learner
    critic: Learner | None
    """None: the advantages need no critic."""

    @property
    def all(self) -> tuple[Learner, ...]:
        """In the order in which all processes treat them."""
        return (self.policy,) if self.critic is None else (self.policy, self.critic)

    def good_weights(self, step: int) -> GoodWeights:
        """Copies of the current weights, which are those after ``step``."""
        return GoodWeights(step, self.policy.engine.weights(), {} if self.critic is None else self.critic.engine.weights())

    def own(self, good: GoodWeights) -> GoodWeights:
        """What this process keeps of good weights that all have."""
        critic = {} if self.critic is None else self.critic.engine.own(good.critic)
        return GoodWeights(good.step, self.policy.engine.own(good.policy), critic)

    def fall_back(self, good: GoodWeights) -> None:
        """Put the good weights back; the optimizers start anew, because their moments belong to other weights."""
        self.policy.engine.put_back(good.policy)
        if self.critic is not None:
            self.critic.engine.put_back(good.critic)

    def saved(self, state: PPOState) -> SavedState:
        """The state with all that a checkpoint holds."""
        return SavedState(state, self.policy.engine.tensors(), {} if self.critic is None else self.critic.engine.tensors())

    def end(self) -> None:
        """End the training. The policy is a plain network again; the critic is of no more use."""
        if self.critic is not None:
            self.critic.engine.drop()
        self.policy.engine.close()
