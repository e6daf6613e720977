"""Networks that do not learn, in several processes: each keeps a piece, and they are whole only while they compute.

`Pieces` makes a whole network whole, and processes then compute what they like. `cut_layers` makes one layer whole after the other, so that
the network never is; processes then compute in lock step. What learns beside such layers, as an adapter does, is whole.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from ser_core.learn.compute import ranks
from ser_core.learn.compute.offload import MAIN_MEMORY
from ser_core.learn.compute.placing import Numbers, numbers_for_all, place, replace_weights
from ser_core.learn.compute.unread import give


class CutWeight:
    """This process's piece of a weight.

    Args:
        whole: Its numbers.
        device: Where it computes.
        held: A piece that is there already; if it is the same, it is this weight's too.
    """

    def __init__(self, whole: torch.Tensor, device: torch.device | str, held: torch.Tensor | None = None) -> None:
        self.shape = whole.shape
        self.start = -(-whole.numel() // ranks.count()) * ranks.rank()
        """Number of the first of its numbers that this process has."""
        self.piece = _one_of(piece_of(whole, -(-whole.numel() // ranks.count())).to(device), held)

    @property
    def own(self) -> torch.Tensor:
        """The numbers that this process has, flat, without padding."""
        return self.piece[: max(0, self.shape.numel() - self.start)]

    def whole(self, device: torch.device | str | None = None) -> torch.Tensor:
        """All its numbers, where they are wanted. All processes call it together."""
        device = device or self.piece.device
        if ranks.count() == 1:
            return self.piece.to(device, copy=True).view(self.shape)
        piece = self.piece.to(device)
        flat = piece.new_empty(piece.numel() * ranks.count())
        distributed.all_gather_into_tensor(flat, piece)
        return flat[: self.shape.numel()].view(self.shape)


class Pieces:
    """A frozen network whose weights are cut into as many pieces as there are processes.

    Args:
        network: Frozen; the same in every process, or rank 0 alone reads it (`placing`). Its weights may be of several types.
        device: Where it computes.
        cut: Whether it is cut at all; if not, it stays whole, and `whole` changes nothing.
        offload: Whether the pieces are in main memory, also the one piece of a single process. It is cut then.
    """

    def __init__(self, network: nn.Module, device: str, *, cut: bool, offload: bool = False) -> None:
        self._cut: dict[nn.Parameter, CutWeight] = {}
        self._device = device
        if not offload and (not cut or ranks.count() == 1):
            place(network, device)
            return
        numbers, weights = numbers_for_all(network, device), {}
        for weight in network.parameters():
            piece = CutWeight(numbers(weight), MAIN_MEMORY if offload else device)
            weights[id(weight)] = nn.Parameter(torch.empty(0, dtype=piece.piece.dtype, device=device), False)
            self._cut[weights[id(weight)]] = piece
        replace_weights(network, weights)

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, the network is whole. All processes enter and leave together; in between each computes what it likes."""
        for weight, cut in self._cut.items():
            weight.data = cut.whole(self._device)
        try:
            yield
        finally:
            for weight in self._cut:
                weight.data = _empty(weight)


def cut_layers(network: nn.Module, device: str, beside: nn.Module | None = None, numbers: Numbers | None = None) -> None:
    """Keep pieces of what does not learn in a network's layers and its embeddings; from here on each is whole only while it computes.

    Norms and heads outside of the layers stay whole, with embeddings that a head shares, and what learns. Processes compute together from
    here on, all the same number of batches (`in_pieces`). For a backward pass, layers have to be computed again there
    (`engine.recompute_layers`), or it would keep the whole weights of the forward pass.

    Args:
        network: The same in every process. Its weights become new parameters; those in pieces are empty.
        device: Where it computes.
        beside: Another network in pieces; what does not learn in either, and is the same in both, is held once.
        numbers: Where those of its weights come from; None: wherever they are now (`numbers_for_all`).
    """
    numbers = numbers or numbers_for_all(network, device)
    layers = [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)] + _embeddings(network)
    inside = {id(weight) for layer in layers for weight in layer.parameters() if not weight.requires_grad}
    held = {} if beside is None else _held(beside)
    cut: dict[str, CutWeight] = {}
    weights = {}
    for name, weight in network.named_parameters():
        own = numbers(weight)
        whole = own if weight.requires_grad else _one_of(own, held.get(name))
        if id(weight) in inside and whole is own:
            cut[name] = CutWeight(own, own.device, held.get(name))
            whole = _empty(own)
        weights[id(weight)] = nn.Parameter(whole, weight.requires_grad)
    replace_weights(network, weights)
    of = {id(weight): cut[name] for name, weight in network.named_parameters() if name in cut}
    network.uncut_forwards = [(layer, vars(layer).get("forward")) for layer in layers]  # type: ignore[assignment]
    for layer in layers:
        layer.forward = _while_whole([place for part in layer.modules() for place in _places(part, of)], layer.forward)
    network.cut_weights = cut  # type: ignore[assignment]


def _embeddings(network: Any) -> list[nn.Module]:
    """The table of embeddings, if no other part of the network has its weights too."""
    with contextlib.suppress(NotImplementedError):  # CANINE has no such table
        table = network.get_input_embeddings()
        users = [part for part in network.modules() if any(weight is table.weight for weight in part._parameters.values())]
        return users if len(users) == 1 else []
    return []


def settle(network: Any, device: str, *, in_pieces: bool) -> None:
    """Put a network that only computes on the device of every process: whole, or its layers in pieces. All call it together."""
    (cut_layers if in_pieces else place)(network, device)


def cut_all(network: nn.Module, device: str, numbers: Numbers | None = None) -> None:
    """`cut_layers` of a network of which all weights will learn, or have learnt: until then none does."""
    cut_layers(network.requires_grad_(False), device, numbers=numbers)


def learn_all(network: nn.Module) -> None:
    """Let all weights learn of a network that `cut_all` has cut: it is not in pieces any more, and its weights are read from their pieces
    when an engine takes them. All processes call it together."""
    for layer, forward in network.uncut_forwards:  # type: ignore[union-attr]
        del layer.forward
        if forward is not None:
            layer.forward = forward
    cut, weights = cut_weights(network), {}
    for name, weight in network.requires_grad_(True).named_parameters():
        weights[id(weight)] = weight
        if name in cut:
            weights[id(weight)] = nn.Parameter(torch.empty(cut[name].shape, dtype=weight.dtype, device="meta"))
            give(weights[id(weight)], cut[name].whole)
    replace_weights(network, weights)
    network.cut_weights = {}  # type: ignore[assignment]


def in_pieces(network: nn.Module) -> bool:
    """Whether all processes have to compute the same number of batches with it, at the same time: it is in pieces, or in those of an
    engine."""
    return bool(cut_weights(network)) or any(hasattr(weight, "ds_id") for weight in network.parameters())


def cut_weights(network: nn.Module) -> Mapping[str, CutWeight]:
    """What `cut_layers` has cut, by the names of the weights."""
    found: Mapping[str, CutWeight] = getattr(network, "cut_weights", {})
    return found


def _held(network: nn.Module) -> dict[str, torch.Tensor]:
    """What a process holds of a network's frozen weights, by name."""
    whole = {name: weight.data for name, weight in network.named_parameters() if not weight.requires_grad}
    return whole | {name: cut.piece for name, cut in cut_weights(network).items()}


def _one_of(own: torch.Tensor, held: torch.Tensor | None) -> torch.Tensor:
    """The held tensor where both are the same, so that the own one takes no memory."""
    alike = held is not None and (held.dtype, held.shape) == (own.dtype, own.shape) and torch.equal(held, own)
    return held if held is not None and alike else own


def _empty(whole: torch.Tensor) -> torch.Tensor:
    return whole.detach().new_empty(0)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a module has a weight that is cut."""

    module: nn.Module
    name: str
    cut: CutWeight
    empty: nn.Parameter

    def fill(self) -> None:
        # A new parameter: a backward pass that has kept it keeps its numbers too.
        self.module._parameters[self.name] = nn.Parameter(self.cut.whole(), False)

    def clear(self) -> None:
        self.module._parameters[self.name] = self.empty


def _places(module: nn.Module, cut: Mapping[int, CutWeight]) -> Iterator[_Place]:
    for name, weight in module._parameters.items():
        if weight is not None and id(weight) in cut:
            yield _Place(module, name, cut[id(weight)], weight)


def _while_whole(places: Sequence[_Place], forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Any, **named: Any) -> Any:
        for spot in places:
            spot.fill()
        try:
            return forward(*inputs, **named)
        finally:
            for spot in places:
                spot.clear()

    return run


def piece_of(value: torch.Tensor, length: int) -> torch.Tensor:
    """A copy of this process's ``length`` numbers of a tensor, which is padded so that all processes have as many."""
    own = value.flatten()[length * ranks.rank() : length * (ranks.rank() + 1)]
    return nn.functional.pad(own, (0, length - own.numel())) if own.numel() < length else own.clone()
