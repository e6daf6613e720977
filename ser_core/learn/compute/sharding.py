"""What several processes share of a training's memory: a pure decision, from sizes alone."""

from dataclasses import dataclass

_NUMBER = 4
"""Bytes of a weight, a gradient and each of Adam's two moments: all fp32."""
_STATES_AT_MOST = 0.6
_ACTIVATION = 34
"""Bytes that a layer keeps for its backward pass, for each token and hidden unit, in 16 bit and without the matrix of attention
(Korthikanti et al. 2022, arXiv 2205.05198, section 4.1)."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """How a training is spread.

    Attributes:
        stage: ZeRO stage (Rajbhandari et al. 2020, arXiv 1910.02054): 0 every process has everything, 1 the optimizer is cut into
            pieces, 2 the gradients too, 3 the weights too.
        recompute: Whether the backward pass computes each layer's activations again (gradient checkpointing).
    """

    stage: int
    recompute: bool


@dataclass(frozen=True, slots=True)
class Size:
    """What decides the memory that a training takes: weights, and the micro-batch."""

    trainable: int
    frozen: int
    hidden: int
    layers: int
    tokens: int
    """Of one micro-batch, padding included."""
    half: bool
    """Whether activations have 16 bits."""


def choose_sharding(size: Size, gpu_memory: int | None, processes: int) -> Sharding:
    """The lowest stage whose weights, gradients and moments take at most 60 % of a GPU, and recomputation where activations do not fit
    beside them.

    Stage 3 always recomputes: else each layer's weights, once gathered and cast, would be kept for its backward pass.

    Args:
        size: Of the model and its micro-batches.
        gpu_memory: Bytes of one GPU; None: there is none, and main memory is taken to suffice.
        processes: How many share the work.
    """
    if gpu_memory is None:
        return Sharding(0, recompute=False)
    needs = [state_bytes(size, stage, processes) for stage in range(4)]
    stage = next((stage for stage, need in enumerate(needs) if need <= _STATES_AT_MOST * gpu_memory), 3)
    activations = _ACTIVATION * (1 if size.half else 2) * size.tokens * size.hidden * size.layers
    return Sharding(stage, recompute=stage == 3 or activations > gpu_memory - needs[stage])


def state_bytes(size: Size, stage: int, processes: int) -> float:
    """Bytes of weights, gradients and moments in each process. From stage 1 on, the optimizer has a copy of its piece of the weights."""
    weights, gradients, moments = _NUMBER * (size.trainable + size.frozen), _NUMBER * size.trainable, 2 * _NUMBER * size.trainable
    whole = (weights + gradients + moments, weights + gradients, weights, 0)[stage]
    cut = (0, gradients + moments, 2 * gradients + moments, weights + 2 * gradients + moments)[stage]
    return whole + cut / processes
