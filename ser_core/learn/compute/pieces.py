"""Networks that do not learn, in several processes: each keeps a piece, and they are whole only while they compute."""

import contextlib
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import distributed, nn

from ser_core.learn.compute import ranks
from ser_core.learn.compute.precision import Precision, freeze


class Pieces:
    """A frozen network whose weights are cut into as many pieces as there are processes.

    Args:
        network: Frozen; the same in every process. Its weights may be of several types.
        device: Where it computes.
        cut: Whether it is cut at all; if not, it stays whole, and `whole` changes nothing.
    """

    def __init__(self, network: nn.Module, device: str, *, cut: bool) -> None:
        self._device = device
        self._pieces: list[tuple[nn.Parameter, torch.Size, torch.Tensor]] = []
        if cut and ranks.count() > 1:
            for weight in network.parameters():
                piece = piece_of(weight.data, -(-weight.numel() // ranks.count())).clone()  # it keeps nothing of the whole
                self._pieces.append((weight, weight.shape, piece.to(device)))
                weight.data = weight.data.new_empty(0)
        network.to(device)

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, the network is whole. All processes enter and leave together; in between each computes what it likes."""
        for weight, shape, piece in self._pieces:
            flat = piece.new_empty(piece.numel() * ranks.count())
            distributed.all_gather_into_tensor(flat, piece)
            weight.data = flat[: shape.numel()].view(shape)
        try:
            yield
        finally:
            for weight, _, piece in self._pieces:
                weight.data = piece.new_empty(0)


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
