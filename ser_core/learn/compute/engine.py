"""What takes the optimizer steps of a training: `LocalEngine` in one process, those of `distributed` in several."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, NoReturn, Protocol

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from ser_core.errors import Interrupted
from ser_core.learn.compute import ranks
from ser_core.learn.compute.offload import MAIN_MEMORY, OffloadedAdamW
from ser_core.learn.compute.parts import learning, trainable
from ser_core.learn.compute.pieces import cut_weights
from ser_core.learn.compute.saved_tensors import key_of
from ser_core.learn.compute.unread import overwrite

LARGEST_GRADIENT_NORM = 1.0
MOMENTS = ("exp_avg", "exp_avg_sq")
GATHERING = "gathering the weights"
"""What a watch is told before an engine gives its tensors."""


@dataclass(frozen=True, slots=True)
class AdamSettings:
    """What stays the same in all steps of the optimizer."""

    epsilon: float = 1e-8
    largest_gradient_norm: float = LARGEST_GRADIENT_NORM
    """A gradient with a larger norm is scaled down to it."""


ADAM = AdamSettings()
"""Torch's own, as the reward model and the fine-tuning have it."""


def stop_after(save: Callable[[], None], device: str, done: str) -> NoReturn:
    """End a training that was asked to stop. All processes call it together, each saves what it owns."""
    save()
    ranks.meet(device)
    raise Interrupted(f"stopped after {done}", hint="start it again to go on from there")


class Engine(Protocol):
    """Gradients and steps of one training. With several ranks every method is collective: all call it at the same point."""

    @property
    def network(self) -> Any:
        """The network through which losses have to be computed."""
        ...

    def start_step(self) -> None:
        """Forget all gradients."""
        ...

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Add the gradient of a loss, whose sum over processes and micro-batches is the step's.

        Args:
            loss: This process's, of one micro-batch.
            last: Whether it is the last micro-batch of the step.
        """
        ...

    def step(self, rate: float) -> float:
        """Clip the gradient, take the step, return the norm that the gradient had. One that is not finite changes nothing."""
        ...

    def rest(self) -> None:
        """After forward passes without a backward pass: put away the weights that were fetched ahead for it."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights and optimizer moments, as ``weight/<name>``, ``exp_avg/<name>``, ``exp_avg_sq/<name>`` and ``step/<name>``: of each
        what this process owns, whole or in pieces (`saved_tensors.key_of`).
        """
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights by name, without a prefix, as copies in main memory: on rank 0, nothing on the others. Where weights are cut,
        each process has the pieces that it owns (`saved_tensors.key_of`)."""
        ...

    def own(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Of weights that all processes have, by name: what `weights` would have returned."""
        ...

    def put_back(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Go on from other weights, as `weights` returned them; the optimizer starts anew."""
        ...

    def drop(self) -> None:
        """Free what only training needs. The network cannot be used any more."""
        ...

    def close(self) -> None:
        """Make the network a plain one again, whole in every process but for layers that stay in pieces (`pieces.cut_layers`)."""
        ...


def adamw(weights: Mapping[str, nn.Parameter], rate: float, settings: AdamSettings, *, offload: bool) -> torch.optim.Optimizer:
    """AdamW without weight decay, as in the method's released code. ``offload``: whether its moments are in main memory."""
    kind = OffloadedAdamW if offload else torch.optim.AdamW
    return kind(weights.values(), lr=rate, eps=settings.epsilon, weight_decay=0.0, fused=True)


def recompute_layers(network: nn.Module) -> None:
    """Let the backward pass compute each layer's activations again. transformers' own switch works only where dropout is on."""
    for layer in _layers(network):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)


def _layers(network: nn.Module) -> list[nn.Module]:
    """What transformers has a switch for; of kinds that have none, such as ALBERT and MPNet, the members of the innermost lists."""
    if found := [layer for layer in network.modules() if isinstance(layer, GradientCheckpointingLayer)]:
        return list(found)
    lists = {name: part for name, part in network.named_modules() if isinstance(part, nn.ModuleList)}
    inner = (part for name, part in lists.items() if not any(other.startswith(f"{name}.") for other in lists))
    # What XLM's attention puts into its cache would be there twice.
    return [layer for part in inner for layer in part if "cache" not in signature(layer.forward).parameters]


def set_rate(optimizer: Any, rate: float) -> None:
    """Rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def moved(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the weights that have an optimizer state; none before the first step."""
    return [key.removeprefix("step/") for key in tensors if key.startswith("step/")]


def restore_weights(weights: Mapping[str, nn.Parameter], tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy weights back into a model, into those without numbers when they get some."""
    for name, weight in weights.items():
        overwrite(weight, partial(tensors.__getitem__, f"weight/{name}"))


def restore_moments(weights: Mapping[str, nn.Parameter], optimizer: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy the optimizer's state back, to where it is kept."""
    for name in moved(tensors):
        weight = weights[name]
        device = MAIN_MEMORY if isinstance(optimizer, OffloadedAdamW) else weight.device
        optimizer.state[weight] = {kind: tensors[f"{kind}/{name}"].to(device, copy=True) for kind in ("step", *MOMENTS)}


class LocalEngine:
    """One process on one device.

    Args:
        network: Trained in place.
        rate: Of the first step.
        tensors: What `tensors` returned, to go on from.
        recompute: Whether layers are computed again in the backward pass.
        offload: Whether the optimizer's moments are in main memory.
        settings: Of the optimizer.
    """

    def __init__(
        self,
        network: Any,
        rate: float,
        tensors: Mapping[str, torch.Tensor] | None,
        *,
        recompute: bool = False,
        offload: bool = False,
        settings: AdamSettings = ADAM,
    ) -> None:
        self.network = network
        if recompute:
            recompute_layers(network)
        self._weights = dict(trainable(network))
        self._settings = settings
        self._optimizer = adamw(self._weights, rate, settings, offload=offload)
        if tensors is not None:
            restore_weights(self._weights, tensors)
            restore_moments(self._weights, self._optimizer, tensors)

    def start_step(self) -> None:
        """As `Engine` says."""
        self._optimizer.zero_grad()

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """As `Engine` says."""
        loss.backward()

    def step(self, rate: float) -> float:
        """As `Engine` says."""
        norm = nn.utils.clip_grad_norm_(self._weights.values(), self._settings.largest_gradient_norm).item()
        if math.isfinite(norm):
            set_rate(self._optimizer, rate)
            self._optimizer.step()
        return norm

    def rest(self) -> None:
        """All weights are always there."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """As `Engine` says; not copied."""
        return state_tensors(self._weights, self._optimizer)

    def weights(self) -> dict[str, torch.Tensor]:
        """As `Engine` says."""
        return copied(self._weights)

    def own(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As `Engine` says."""
        return dict(weights)

    def put_back(self, weights: Mapping[str, torch.Tensor]) -> None:
        """As `Engine` says."""
        self._optimizer.state.clear()
        for name, weight in self._weights.items():
            weight.data.copy_(weights[name])

    def drop(self) -> None:
        """As `Engine` says."""
        self._optimizer.state.clear()
        self._optimizer.zero_grad()

    def close(self) -> None:
        """The network is a plain one all the time."""


def copied(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies in main memory."""
    return {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}


def trained_weights(network: Any) -> dict[str, torch.Tensor]:
    """What a training has made of a network, as an engine gives it, without moments, in main memory: on rank 0, and of weights that are in
    pieces each process's."""
    learnt, cut = learning(network), cut_weights(network)
    pieces = ((f"weight/{name}", cut[name]) for name in learnt if name in cut)
    found = {key_of(name, one.start, len(one.own), one.shape): one.own.to("cpu") for name, one in pieces if len(one.own)}
    if ranks.rank():
        return found
    return found | {f"weight/{name}": weight.detach().to("cpu") for name, weight in learnt.items() if name not in cut}


def state_tensors(weights: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Weights and optimizer moments by name, not copied."""
    tensors: dict[str, torch.Tensor] = {f"weight/{name}": weight.detach() for name, weight in weights.items()}
    for name, weight in weights.items():
        for moment, value in optimizer.state.get(weight, {}).items():
            tensors[f"{moment}/{name}"] = value
    return tensors
