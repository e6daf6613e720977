"""Networks that do not learn, in several processes: each keeps a piece, and they are whole only while they compute.

`Pieces` makes a whole network whole, and processes then compute what they like. `cut_layers` makes one layer whole after the other, so that
the network never is; processes then compute in lock step.
"""

import contextlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import distributed, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from ser_core.learn.compute import ranks
from ser_core.learn.compute.placing import Numbers, replace_weights
from ser_core.learn.compute.precision import Precision, freeze


class CutWeight:
    """A weight that is empty until it is gathered.

    Args:
        weight: It has this process's piece alone from here on.
        whole: Its numbers.
        device: Where it computes.
    """

    def __init__(self, weight: nn.Parameter, whole: torch.Tensor, device: torch.device | str) -> None:
        self._weight = weight
        self._shape = whole.shape
        # A copy, which keeps nothing of the whole.
        self._piece = piece_of(whole, -(-whole.numel() // ranks.count())).clone().to(device)
        self.release()

    def gather(self) -> None:
        """Make it whole. All processes call it together."""
        flat = self._piece.new_empty(self._piece.numel() * ranks.count())
        distributed.all_gather_into_tensor(flat, self._piece)
        self._weight.data = flat[: self._shape.numel()].view(self._shape)

    def release(self) -> None:
        """Make it empty again."""
        self._weight.data = self._piece.new_empty(0)


class Pieces:
    """A frozen network whose weights are cut into as many pieces as there are processes.

    Args:
        network: Frozen; the same in every process. Its weights may be of several types.
        device: Where it computes.
        cut: Whether it is cut at all; if not, it stays whole, and `whole` changes nothing.
    """

    def __init__(self, network: nn.Module, device: str, *, cut: bool) -> None:
        self._weights: list[CutWeight] = []
        if cut and ranks.count() > 1:
            self._weights = [CutWeight(weight, weight.data, device) for weight in network.parameters()]
        network.to(device)

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, the network is whole. All processes enter and leave together; in between each computes what it likes."""
        for weight in self._weights:
            weight.gather()
        try:
            yield
        finally:
            for weight in self._weights:
                weight.release()


def cut_layers(network: nn.Module, numbers: Numbers) -> None:
    """Keep pieces of what does not learn in a network's layers; from here on each layer is whole only while it computes.

    Embeddings, norms and heads outside of the layers stay whole, as does what learns. Processes compute together from here on, all the same
    number of batches (`in_pieces`).

    Args:
        network: The same in every process. Its weights become new parameters.
        numbers: Where those of its weights come from.
    """
    layers = [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)]
    inside = [[id(weight) for weight in layer.parameters() if not weight.requires_grad] for layer in layers]
    frozen = {weight for layer in inside for weight in layer}
    cut, weights = {}, {}
    for weight in network.parameters():
        whole = numbers(weight)
        weights[id(weight)] = nn.Parameter(whole, weight.requires_grad)
        if id(weight) in frozen:
            cut[id(weight)] = CutWeight(weights[id(weight)], whole, whole.device)
    replace_weights(network, weights)
    for layer, names in zip(layers, inside, strict=True):
        own = [cut[name] for name in names]
        layer.register_forward_pre_hook(partial(_gather, own))
        layer.register_forward_hook(partial(_release, own), always_call=True)
    network.in_pieces = True  # type: ignore[assignment]


def in_pieces(network: nn.Module) -> bool:
    """Whether all processes have to compute the same number of batches with it, at the same time."""
    return getattr(network, "in_pieces", False)


def _gather(weights: Sequence[CutWeight], *_: Any) -> None:
    for weight in weights:
        weight.gather()


def _release(weights: Sequence[CutWeight], *_: Any) -> None:
    for weight in weights:
        weight.release()


class WholeCopy:
    """A copy of a network that learns, to generate with: made before each use, and of its current weights.

    Its matrices have the type in which they are multiplied. So it takes half of the network's memory where products are bf16.

    Args:
        network: Not yet in an engine.
        precision: Its device and arithmetic.
    """

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        self._source = network
        empty = {id(weight): nn.Parameter(torch.empty(0, device=precision.device), False) for weight in network.parameters()}
        self.network: Any = freeze(deepcopy(network, empty), precision)
        """Without weights outside of `filled`."""

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """Inside, the copy has the weights that the network has now. All processes enter together."""
        for weight, own in zip(self._source.parameters(), self.network.parameters(), strict=True):
            with gathered(weight):
                own.data = weight.detach().to(own.dtype, copy=True)
        try:
            yield
        finally:
            for own in self.network.parameters():
                own.data = own.data.new_empty(0)


def gathered(*weights: nn.Parameter) -> contextlib.AbstractContextManager[Any]:
    """Context in which weights are whole, also those that an engine has cut. All processes enter together."""
    cut = [weight for weight in weights if hasattr(weight, "ds_id")]
    if not cut:
        return contextlib.nullcontext()
    import deepspeed

    gathering: contextlib.AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(cut)
    return gathering


def piece_of(value: torch.Tensor, length: int) -> torch.Tensor:
    """This process's ``length`` numbers of a tensor, which is padded so that all processes have as many."""
    padded = value.new_zeros(length * ranks.count())
    padded[: value.numel()] = value.flatten()
    return padded.narrow(0, length * ranks.rank(), length)
