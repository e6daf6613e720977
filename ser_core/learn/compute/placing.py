"""How a network gets to the devices of all processes when rank 0 alone reads its weights.

The others make the network without numbers (`pretrained.load_structure`). What they need of each weight comes from rank 0, one weight after
the other: the whole of it, or a piece. Rank 0 reads a weight then (`unread`), so it does not hold all of them either.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

from ser_core.learn.compute import ranks
from ser_core.learn.compute.unread import source_of

Numbers = Callable[[nn.Parameter], torch.Tensor]
"""All numbers of a weight, on the device, in memory of their own. All processes ask for the same weights in the same order."""

_TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def place(network: nn.Module, device: str) -> None:
    """Put a network on the device of every process, whole. All processes call it together."""
    if _is_rank_0_s_alone(network, device):
        numbers = numbers_for_all(network, device)
        replace_weights(network, {id(weight): nn.Parameter(numbers(weight), weight.requires_grad) for weight in network.parameters()})
    network.to(device)


def numbers_for_all(network: nn.Module, device: str) -> Numbers:
    """Numbers of a network's weights, wherever they are now. Its buffers get to the device at once. All processes call it together.

    Args:
        network: The same in all processes, or one whose numbers rank 0 alone has, or reads.
        device: Where they are needed.
    """
    given = _is_rank_0_s_alone(network, device)
    weights = list(network.parameters())
    types = torch.tensor([_TYPES.index(weight.dtype) for weight in weights], device=device)
    if given:
        ranks.spread([types])
    kinds = {id(weight): _TYPES[kind] for weight, kind in zip(weights, types.tolist(), strict=True)}
    for module in network.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(device)
    if given:
        ranks.spread(network.buffers())

    def numbers(weight: nn.Parameter) -> torch.Tensor:
        empty = partial(torch.empty, weight.shape, dtype=kinds[id(weight)], device=device)
        source = source_of(weight)
        if source is not None:
            found = source().to(device, weight.dtype, copy=True).contiguous()
        else:
            found = empty() if weight.is_meta else weight.data.to(device).contiguous()
        if given:
            ranks.spread([found])
        return found

    return numbers


def replace_weights(network: nn.Module, weights: Mapping[int, nn.Parameter]) -> None:
    """Put other parameters in the place of a network's own, which are named by their ``id``. What was shared stays shared."""
    for module in network.modules():
        module._parameters = {name: None if weight is None else weights[id(weight)] for name, weight in dict.items(module._parameters)}


def _is_rank_0_s_alone(network: nn.Module, device: str) -> bool:
    return ranks.anywhere(any(weight.is_meta for weight in network.parameters()), device)
