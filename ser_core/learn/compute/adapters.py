"""LoRA adapters: the same ones for every kind of model that is trained."""

from collections.abc import Sequence
from copy import copy
from typing import Any, Literal

import torch
from torch import nn

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.errors import SpecError
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
    """A network with a new adapter, whose weights come from torch's generator also where the network's are still in files.

    Raises:
        SpecError: It can have none (`refuse_odd_layers`).
    """
    from peft import get_peft_model

    refuse_odd_layers(network, settings)
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


def refuse_odd_layers(network: Any, settings: Any) -> None:
    """Refuse a network in which peft would adapt more than plain linear layers: fused experts, or routers that give several tensors.

    Raises:
        SpecError: ``ModelNotSupported``.
    """
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    tried = copy(settings)
    convert_peft_config_for_transformers(tried, network, None)
    odd = (part for part in network.base_model.modules() if isinstance(part, nn.Linear) and type(part).forward is not nn.Linear.forward)
    if tried.target_parameters or any(odd):
        raise SpecError(
            f"a {network.config.model_type} cannot have an adapter: its experts or their router are no plain linear layers",
            reason="ModelNotSupported",
            hint="leave adapter out, so that all weights learn; or name a model without experts, for example a llama or qwen3",
        )


def _of_shape(shape: torch.Size) -> torch.Tensor:
    """Zeros; many of them take no memory."""
    return torch.zeros(shape) if shape.numel() < 1 << 16 else torch.zeros(()).expand(shape)
