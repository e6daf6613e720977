"""LoRA adapters: the same ones for every kind of model that is trained."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.learn.compute.parts import heads


def lora(adapter: AdapterSpec, task: Literal["CAUSAL_LM", "SEQ_CLS"], *, whole: Sequence[str] = ()) -> Any:
    """peft's settings of an adapter on all linear layers, without dropout.

    Args:
        adapter: Rank and scale.
        task: peft's name of what the network computes.
        whole: Names of modules that are trained as they are, such as a new head.
    """
    from peft import LoraConfig

    return LoraConfig(
        task_type=task,
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        modules_to_save=list(whole) or None,
    )


def adapt_scorer(network: Any, adapter: AdapterSpec) -> Any:
    """A network that scores, with a new adapter on its trunk. The adapter's weights come from torch's generator."""
    return adapted(network, lora(adapter, "SEQ_CLS", whole=list(heads(network))))


def adapted(network: Any, settings: Any) -> Any:
    """A network with a new adapter, whose weights come from torch's generator also where the network's are still in files."""
    from peft import get_peft_model

    places = [(module, name, weight) for module in network.modules() for name, weight in module._parameters.items() if weight is not None]
    # peft puts an adapter where the layer below it has its weight, and without numbers it would have none either.
    shapes = {id(weight): nn.Parameter(_of_shape(weight.shape), False) for *_, weight in places if weight.is_meta}
    for module, name, weight in places:
        module._parameters[name] = shapes.get(id(weight), weight)
    found = get_peft_model(network, settings)
    for module, name, weight in places:
        if weight.is_meta:
            module._parameters[name] = weight.requires_grad_(False)
    return found


def _of_shape(shape: torch.Size) -> torch.Tensor:
    """Zeros; many of them take no memory."""
    return torch.zeros(shape) if shape.numel() < 1 << 16 else torch.zeros(()).expand(shape)
