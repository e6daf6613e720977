"""Training in several processes, on DeepSpeed engines driven directly: one class for each way to cut what a training holds.

Weights are fp32 everywhere. With bf16 only the trunk's products are bf16 (autocast), so that any number of ranks computes what one does.

Who owns which copy, from the constructor to `close`:

| | ZeRO 0: `ReplicatedEngine` | ZeRO 1, 2: `ShardedStateEngine` | ZeRO 3: `ShardedWeightsEngine` |
|---|---|---|---|
| the network's weights | all, on every rank | all, views of DeepSpeed's flat buffer | a piece; a layer is whole while it computes |
| weights that the optimizer changes | the same tensors | a copy of the rank's piece | a copy of the rank's piece |
| moments | all, on every rank | a piece; with `Sharding.offload` in main memory | the same |
| gradients | all, summed at the last micro-batch | ZeRO 1: all until the step, ZeRO 2: a piece | a piece |
| after `step` | nothing moves | ranks exchange their pieces | the network's piece is copied from the optimizer's |
| `tensors` | rank 0 copies all to main memory | each rank copies its piece to main memory | the same |
| after `close` | all, on every rank, in new parameters | the same | the same; with `Sharding.pieces` layers stay in pieces |

A network whose frozen layers are in pieces already (`pieces.cut_layers`) is trained at the stages 0 to 2, and is as it was afterwards.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import ADAM, AdamSettings, Engine, LocalEngine
from ser_core.learn.compute.pieces import cut_weights
from ser_core.learn.compute.placing import place
from ser_core.learn.compute.precision import Precision, gpu_memory
from ser_core.learn.compute.sharded.deepspeed_engine import DeepSpeedEngine
from ser_core.learn.compute.sharded.replicated import ReplicatedEngine
from ser_core.learn.compute.sharded.sharded_state import ShardedStateEngine
from ser_core.learn.compute.sharded.sharded_weights import ShardedWeightsEngine
from ser_core.memory.activations import MicroBatch
from ser_core.memory.amounts import room_of
from ser_core.memory.shape import model_shape
from ser_core.memory.training import Sharding, Training, choose_sharding, logits_together


def training_of_network(network: Any, batch: MicroBatch, *, logits: bool = False) -> Training:
    """What decides the memory of training a network, which may have an adapter already. ``logits``: whether it is a language model."""
    cut, sizes = cut_weights(network), {True: 0, False: 0}
    shapes = {name: tuple(cut.get(name, weight).shape) for name, weight in network.named_parameters()}
    for name, weight in network.named_parameters():
        sizes[weight.requires_grad] += math.prod(shapes[name])
    shape = model_shape(network.config.to_dict(), {name.replace(".base_layer.", "."): found for name, found in shapes.items()})
    narrow = any(not weight.requires_grad and weight.dtype == torch.bfloat16 for weight in network.parameters())
    return Training(shape, sizes[True], sizes[False], batch, logits_together(shape, batch) if logits else 0, narrow)


def engine_for(
    network: Any,
    rate: float,
    tensors: Mapping[str, torch.Tensor] | None,
    training: Training,
    precision: Precision,
    sharding: Sharding | None = None,
    settings: AdamSettings = ADAM,
) -> Engine:
    """The engine of this process, or of all that share the training.

    Args:
        network: Trained in place; where it is, or where rank 0 alone has read it (`placing`).
        rate: Of the first step.
        tensors: What an engine returned, to go on from.
        training: Its sizes.
        precision: Its device and arithmetic.
        sharding: How it is spread; None: as the memory of this machine needs it.
        settings: Of the optimizer.
    """
    sharding = sharding or sharding_of(training, precision)
    if sharding.stage < 3:
        place(network, precision.device)
    if ranks.count() == 1:
        return LocalEngine(network, rate, tensors, recompute=sharding.recompute, offload=sharding.offload, settings=settings)
    return distributed_engine(network, rate, tensors, sharding, training, settings, precision.device)


def sharding_of(training: Training, precision: Precision) -> Sharding:
    """`choose_sharding` for a training on this machine."""
    memory = gpu_memory() if precision.device == "cuda" else None
    return choose_sharding(training, None if memory is None else room_of(memory), ranks.count())


def distributed_engine(
    network: Any,
    rate: float,
    tensors: Mapping[str, torch.Tensor] | None,
    sharding: Sharding,
    training: Training,
    settings: AdamSettings,
    device: str,
) -> DeepSpeedEngine:
    """The engine of a ZeRO stage; arguments as `DeepSpeedEngine` takes them."""
    kinds = (ReplicatedEngine, ShardedStateEngine, ShardedStateEngine, ShardedWeightsEngine)
    return kinds[sharding.stage](network, rate, tensors, sharding, training, settings, device)
