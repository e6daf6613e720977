"""The parts of a network that scores: trunk, head, adapter."""

from typing import Any

from torch import nn


def without_adapter(network: Any) -> Any:
    """The network that an adapter was put on, or the network itself."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def heads(network: Any) -> dict[str, nn.Module]:
    """What has weights and follows the trunk of a network without adapter, by name."""
    trunk = network.base_model
    return {name: part for name, part in network.named_children() if part is not trunk and any(True for _ in part.parameters())}
