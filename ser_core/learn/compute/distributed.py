"""Training in several processes, on DeepSpeed engines driven directly: one class for each way to cut what a training holds.

Weights are fp32 everywhere. With bf16 only the trunk's products are bf16 (autocast), so that any number of ranks computes what one does.

Who owns which copy, from the constructor to `close`:

| | ZeRO 0: `ReplicatedEngine` | ZeRO 1, 2: `ShardedStateEngine` | ZeRO 3: `ShardedWeightsEngine` |
|---|---|---|---|
| the network's weights | all, on every rank | all, views of DeepSpeed's flat buffer | a piece; a layer is whole while it computes |
| weights that the optimizer changes | the same tensors | a copy of the rank's piece | a copy of the rank's piece |
| moments | all, on every rank | a piece | a piece |
| gradients | all, summed at the last micro-batch | ZeRO 1: all until the step, ZeRO 2: a piece | a piece |
| after `step` | nothing moves | ranks exchange their pieces | the network's piece is copied from the optimizer's |
| `tensors` | rank 0 copies all to main memory | gathered one by one, rank 0 copies them | the same |
| after `close` | all, on every rank, in new parameters | the same | the same |
"""

import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import (
    LARGEST_GRADIENT_NORM,
    Engine,
    LocalEngine,
    adamw,
    moments_of,
    recompute_layers,
    restore_moments,
    restore_weights,
    set_rate,
    state_tensors,
)
from ser_core.learn.compute.parts import computed_by_row, trainable
from ser_core.learn.compute.precision import Precision, gpu_memory
from ser_core.memory.activations import MicroBatch
from ser_core.memory.amounts import room_of
from ser_core.memory.shape import model_shape
from ser_core.memory.training import Sharding, Training, choose_sharding, logits_together

_MOMENTS = ("exp_avg", "exp_avg_sq")


def training_of_network(network: Any, batch: MicroBatch, *, logits: bool = False) -> Training:
    """What decides the memory of training a network, which may have an adapter already. ``logits``: whether it is a language model."""
    sizes = {True: 0, False: 0}
    for weight in network.parameters():
        sizes[weight.requires_grad] += weight.numel()
    shapes = {name.replace(".base_layer.", "."): tuple(weight.shape) for name, weight in network.named_parameters()}
    shape = model_shape(network.config.to_dict(), shapes)
    return Training(shape, sizes[True], sizes[False], batch, logits_together(shape, batch) if logits else 0)


def engine_for(
    network: Any,
    rate: float,
    tensors: Mapping[str, torch.Tensor] | None,
    training: Training,
    precision: Precision,
    sharding: Sharding | None = None,
) -> Engine:
    """The engine of this process, or of all that share the training.

    Args:
        network: Trained in place.
        rate: Of the first step.
        tensors: What an engine returned, to go on from.
        training: Its sizes.
        precision: Its device and arithmetic.
        sharding: How it is spread; None: as the memory of this machine needs it.
    """
    sharding = sharding or sharding_of(training, precision)
    if ranks.count() == 1:
        return LocalEngine(network, rate, tensors, recompute=sharding.recompute)
    return distributed_engine(network, rate, tensors, sharding, training)


def sharding_of(training: Training, precision: Precision) -> Sharding:
    """`choose_sharding` for a training on this machine."""
    memory = gpu_memory() if precision.device == "cuda" else None
    return choose_sharding(training, None if memory is None else room_of(memory), ranks.count())


class DeepSpeedEngine(ABC):
    """An `Engine` of all ranks of the process group. Gradients and weights are equal to those of one process but for rounding.

    Args:
        network: The same on every rank. DeepSpeed owns its parameters from here until `close`.
        rate: Of the first step.
        tensors: What `tensors` returned on rank 0, to go on from; on every rank. Any engine on any number of ranks may have written it.
        sharding: The ZeRO stage, one of the class's own, and whether layers are computed again in the backward pass.
        training: Its sizes, by which processes exchange numbers.
    """

    def __init__(
        self, network: Any, rate: float, tensors: Mapping[str, torch.Tensor] | None, sharding: Sharding, training: Training
    ) -> None:
        self._whole = network
        self._device = next(network.parameters()).device
        self._weights = dict(trainable(network))
        if tensors is not None:
            restore_weights(self._weights, tensors)
        for head in computed_by_row(network):
            # It is called once for each row. Ranks have different numbers of rows, but must gather its weights once.
            head._z3_leaf = True  # type: ignore[assignment]
        if sharding.recompute:
            recompute_layers(network)
        with _quiet():
            self.network = _initialize(network, adamw(self._weights, rate), sharding.stage, training)
        if tensors is not None:
            self._restore_moments(tensors)

    def start_step(self) -> None:  # noqa: B027  (the same for all)
        """A step leaves no gradient behind."""

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """As `Engine` says. DeepSpeed takes the mean over ranks, and would lose gradients without being told the last micro-batch."""
        self.network.set_gradient_accumulation_boundary(last)
        self.network.backward(loss * ranks.count())

    @abstractmethod
    def step(self, rate: float) -> float:
        """As `Engine` says."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """As `Engine` says; copies in main memory."""

    def close(self) -> None:
        """As `Engine` says: new parameters take the place of DeepSpeed's, whose data are views of buffers or pieces.

        Before they are made, everything goes that only training needs: both together may not fit.
        """
        optimizer = self.network.optimizer
        self.network.destroy()
        getattr(optimizer, "optimizer", optimizer).state.clear()
        vars(optimizer).clear()
        whole = {id(weight): nn.Parameter(self._full(weight), weight.requires_grad) for weight in self._whole.parameters()}
        for module in self._whole.modules():
            module._parameters = {name: None if weight is None else whole[id(weight)] for name, weight in dict.items(module._parameters)}

    def _full(self, weight: nn.Parameter) -> torch.Tensor:
        """A whole weight whose memory is its own."""
        return weight.detach().clone() if weight.requires_grad else weight.detach()

    @abstractmethod
    def _restore_moments(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put the optimizer's state where this engine keeps it."""


class ReplicatedEngine(DeepSpeedEngine):
    """ZeRO stage 0: every rank holds everything."""

    def step(self, rate: float) -> float:
        """As `Engine` says. DeepSpeed does not clip at this stage as it does from stage 1 on, so it is done here."""
        set_rate(self.network.optimizer, rate)
        norm = nn.utils.clip_grad_norm_(self._weights.values(), LARGEST_GRADIENT_NORM).item()
        self.network.step()
        return norm

    def tensors(self) -> dict[str, torch.Tensor]:
        """As `Engine` says; copies in main memory."""
        found = state_tensors(self._weights, self.network.optimizer) if ranks.rank() == 0 else {}
        return {name: tensor.to("cpu", copy=True) for name, tensor in found.items()}

    def _full(self, weight: nn.Parameter) -> torch.Tensor:
        return weight.detach()

    def _restore_moments(self, tensors: Mapping[str, torch.Tensor]) -> None:
        restore_moments(self._weights, self.network.optimizer, tensors)


class ShardedStateEngine(DeepSpeedEngine):
    """ZeRO stages 1 and 2: each rank holds its piece of the optimizer, at stage 2 also of the gradients."""

    def step(self, rate: float) -> float:
        """As `Engine` says. DeepSpeed clips in its step, and skips it when the norm is not finite."""
        set_rate(self.network.optimizer, rate)
        self.network.step()
        return float(self.network.get_global_grad_norm())

    def tensors(self) -> dict[str, torch.Tensor]:
        """As `Engine` says; copies in main memory. Weights and moments are gathered one after the other."""
        gathered = {}
        for key, tensor in self._gather():
            if ranks.rank() == 0:
                gathered[key] = tensor.to("cpu", copy=True)
        return gathered

    def _gather(self) -> Iterator[tuple[str, torch.Tensor]]:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        states = list(self.network.optimizer.optimizer.state.values())
        for name, weight in self._weights.items():
            yield f"weight/{name}", safe_get_full_fp32_param(weight)
            if states:
                yield f"step/{name}", states[0]["step"]
                for moment in _MOMENTS:
                    yield f"{moment}/{name}", safe_get_full_optimizer_state(weight, moment)

    def _restore_moments(self, tensors: Mapping[str, torch.Tensor]) -> None:
        moments = moments_of(tensors)
        if not moments:
            return
        self._make_moments(next(iter(moments.values()))["step"])
        for name, state in moments.items():
            for moment in _MOMENTS:
                self._set_moment(self._weights[name], moment, state[moment].to(self._device))

    def _make_moments(self, step: torch.Tensor) -> None:
        """What the optimizer would make in its first step: moments of each flat piece of the weights."""
        sharded = self.network.optimizer
        for piece in self._pieces(sharded):
            state = {moment: torch.zeros_like(piece) for moment in _MOMENTS}
            sharded.optimizer.state[piece] = {"step": step.to(piece.device, copy=True)} | state
        self._moments_made(sharded)

    def _pieces(self, sharded: Any) -> list[torch.Tensor]:
        """This rank's flat pieces of the weights, which the optimizer changes."""
        pieces: list[torch.Tensor] = sharded.single_partition_of_fp32_groups
        return pieces

    def _moments_made(self, sharded: Any) -> None:
        sharded._lazy_init_hp_params_optimizer_state()

    def _set_moment(self, weight: Any, moment: str, value: torch.Tensor) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state

        safe_set_full_optimizer_state(weight, value, moment)


class ShardedWeightsEngine(ShardedStateEngine):
    """ZeRO stage 3: each rank holds its piece of everything."""

    def _full(self, weight: nn.Parameter) -> torch.Tensor:
        import deepspeed

        with deepspeed.zero.GatheredParameters([weight]):
            return weight.detach().clone()

    def _pieces(self, sharded: Any) -> list[torch.Tensor]:
        pieces: list[torch.Tensor] = sharded.fp32_partitioned_groups_flat
        return pieces

    def _moments_made(self, sharded: Any) -> None:
        """DeepSpeed finds them without being told."""

    def _set_moment(self, weight: Any, moment: str, value: torch.Tensor) -> None:
        from deepspeed.utils import safe_set_local_optimizer_state

        # DeepSpeed's own way of cutting fails for weights whose size is no multiple of the number of ranks.
        length = weight.ds_tensor.numel()
        padded = value.new_zeros(length * ranks.count())
        padded[: value.numel()] = value.flatten()
        safe_set_local_optimizer_state(weight, padded.narrow(0, length * ranks.rank(), length), moment)


def distributed_engine(
    network: Any, rate: float, tensors: Mapping[str, torch.Tensor] | None, sharding: Sharding, training: Training
) -> DeepSpeedEngine:
    """The engine of a ZeRO stage; arguments as `DeepSpeedEngine` takes them."""
    kinds = (ReplicatedEngine, ShardedStateEngine, ShardedStateEngine, ShardedWeightsEngine)
    return kinds[sharding.stage](network, rate, tensors, sharding, training)


def _initialize(network: Any, optimizer: torch.optim.Optimizer, stage: int, training: Training) -> Any:
    import deepspeed

    # It would be compiled at the start, for reductions that training does not use.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed.initialize(
        model=network,
        optimizer=optimizer,
        config={
            "train_micro_batch_size_per_gpu": 1,  # not used: micro-batches are cut by tokens
            "gradient_accumulation_steps": 1,
            "gradient_clipping": LARGEST_GRADIENT_NORM if stage else 0.0,
            "zero_allow_untested_optimizer": True,
            "zero_optimization": {
                "stage": stage,
                # DeepSpeed's own sizes are 2 GB and more, whatever the model's size.
                "reduce_bucket_size": training.bucket,
                "allgather_bucket_size": training.bucket,
                "stage3_prefetch_bucket_size": training.bucket,
                "stage3_max_live_parameters": training.gathered,
                "stage3_max_reuse_distance": training.gathered,
                # As transformers chooses it: biases and norms stay whole.
                "stage3_param_persistence_threshold": 10 * network.config.get_text_config().hidden_size,
            },
        },
    )[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Standard output belongs to the stage's events; DeepSpeed writes to it."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
