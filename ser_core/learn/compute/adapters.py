"""LoRA adapters: the same ones for every kind of model that is trained."""

from collections.abc import Sequence
from typing import Any, Literal

from ser_core.api.adapter import AdapterSpec
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
    from peft import get_peft_model

    return get_peft_model(network, lora(adapter, "SEQ_CLS", whole=list(heads(network))))
