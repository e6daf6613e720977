"""The parts of a network that scores: trunk, head, adapter."""

from collections.abc import Iterator
from typing import Any

from torch import nn


def without_adapter(network: Any) -> Any:
    """The network that an adapter was put on, or the network itself."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def heads(network: Any) -> dict[str, nn.Module]:
    """What has weights and follows the trunk of a network without adapter, by name."""
    trunk = network.base_model
    return {name: part for name, part in network.named_children() if part is not trunk and any(True for _ in part.parameters())}


def linear_head(network: Any) -> nn.Linear | None:
    """The head of a network without adapter, where it is one linear layer alone."""
    found = list(heads(network).values())
    return found[0] if len(found) == 1 and isinstance(found[0], nn.Linear) else None


def has_experts(network: Any) -> bool:
    """Whether a network is a mixture of experts, as transformers names their weights."""
    return any(".experts." in name for name, _ in network.named_parameters())


def computed_by_row(network: Any) -> list[nn.Module]:
    """The head and the pooler of a network: what is computed one row after the other."""
    model = without_adapter(network)
    pooler: nn.Module | None = getattr(model.base_model, "pooler", None)
    by_row = list(heads(model).values())
    return by_row if pooler is None or not any(True for _ in pooler.parameters()) else [*by_row, pooler]


def trainable(network: Any) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and weights that training changes."""
    return ((name, weight) for name, weight in network.named_parameters() if weight.requires_grad)


def learning(network: Any) -> dict[str, nn.Parameter]:
    """What a training changes, or has changed, by name: all weights, where none is left to learn (`pieces.cut_all`)."""
    return dict(trainable(network)) or dict(network.named_parameters())
