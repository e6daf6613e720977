"""A network to generate with, beside one whose weights an engine has cut."""

import contextlib
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from ser_core.learn.compute.precision import Precision, freeze


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
