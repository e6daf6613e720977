"""Training in several processes, on DeepSpeed engines driven directly.

Weights are fp32 as everywhere; with bf16 only the trunk's products are (autocast), so that any number of processes computes what one does.
The processes are those of torchrun's variables (``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``).
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from torch import distributed, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from ser_core.errors import StoreError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import (
    LARGEST_GRADIENT_NORM,
    adamw,
    moments_of,
    restore_moments,
    restore_weights,
    set_rate,
    state_tensors,
)
from ser_core.learn.compute.parts import computed_by_row, trainable
from ser_core.learn.compute.precision import Precision
from ser_core.learn.compute.sharding import Sharding, Size, choose_sharding

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others. Whoever hangs is found by its heartbeat long before."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join the process group that torchrun's variables describe, and leave it at the end; without them, or inside a group, nothing happens.

    One group is all that a process can have: DeepSpeed remembers the first.

    After an error nobody waits for the others: they may not know of it, and are ended by whoever started them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    yield
    distributed.destroy_process_group()


def agree_on_the_step(step: int, device: str) -> None:
    """Make sure that all processes go on from one step; else they would wait for each other for ever.

    Raises:
        StoreError: They found different checkpoints.
    """
    steps = ranks.collect(torch.tensor(step, device=device)).tolist()
    if len(set(steps)) > 1:
        raise StoreError(f"the processes of this stage found checkpoints of different steps: {steps}", reason="CheckpointsDiffer")


def give_weights(network: nn.Module) -> None:
    """Overwrite the weights with those of the first process, which has a network of the same kind."""
    ranks.spread([*network.parameters(), *network.buffers()])


def sharding_of(network: Any, precision: Precision, tokens_per_batch: int) -> Sharding:
    """`choose_sharding` for this network on this machine."""
    sizes = {True: 0, False: 0}
    for weight in network.parameters():
        sizes[weight.requires_grad] += weight.numel()
    config = network.config.get_text_config()
    size = Size(
        trainable=sizes[True],
        frozen=sizes[False],
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        tokens=precision.batch_tokens(tokens_per_batch),
        half=precision.autocast is not None,
    )
    memory = torch.cuda.get_device_properties().total_memory if precision.device == "cuda" else None
    return choose_sharding(size, memory, ranks.count())


class DeepSpeedEngine:
    """An `Engine` of all processes of the group. Gradients and weights are equal to those of one process but for rounding.

    Args:
        network: The same in every process. It is cut into pieces from here until `close`.
        rate: Of the first step.
        tensors: What `tensors` returned in the first process, to go on from; in every process. Any number of processes may have
            written it, at any stage.
        sharding: What the processes share.
    """

    def __init__(self, network: Any, rate: float, tensors: Mapping[str, torch.Tensor] | None, sharding: Sharding) -> None:
        self._whole = network
        self._device = next(network.parameters()).device
        self._stage = sharding.stage
        self._weights = dict(trainable(network))
        if tensors is not None:
            restore_weights(self._weights, tensors)
        for head in computed_by_row(network):
            # It is called once for each row, of which processes have different numbers, but must gather its weights once.
            head._z3_leaf = True  # type: ignore[assignment]
        if sharding.recompute:
            _recompute_layers(network)
        with _quiet():
            self._engine = _initialize(network, adamw(self._weights, rate), sharding.stage)
        self.network = self._engine
        if tensors is not None:
            self._restore_moments(tensors)

    def start_step(self) -> None:
        """A step leaves no gradient behind."""

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """As `Engine` says. DeepSpeed takes the mean over processes, and would lose gradients without being told the last micro-batch."""
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss * ranks.count())

    def step(self, rate: float) -> float:
        """As `Engine` says. From stage 1 on DeepSpeed clips in its step, and skips it when the norm is not finite."""
        set_rate(self._engine.optimizer, rate)
        if self._stage:
            self._engine.step()
            return float(self._engine.get_global_grad_norm())
        norm = nn.utils.clip_grad_norm_(self._weights.values(), LARGEST_GRADIENT_NORM).item()
        self._engine.step()
        return norm

    def tensors(self) -> dict[str, torch.Tensor]:
        """As `Engine` says; copies in main memory. Weights and moments are gathered one after the other."""
        if self._stage == 0:
            found = state_tensors(self._weights, self._engine.optimizer) if ranks.rank() == 0 else {}
            return {name: tensor.to("cpu", copy=True) for name, tensor in found.items()}
        gathered = {}
        for key, tensor in self._gather():
            if ranks.rank() == 0:
                gathered[key] = tensor.to("cpu", copy=True)
        return gathered

    def close(self) -> None:
        """As `Engine` says: new parameters take the place of DeepSpeed's, whose data are views of buffers or pieces."""
        whole = {id(weight): nn.Parameter(self._full(weight), weight.requires_grad) for weight in self._whole.parameters()}
        self._engine.destroy()
        for module in self._whole.modules():
            module._parameters = {name: None if weight is None else whole[id(weight)] for name, weight in dict.items(module._parameters)}

    def _full(self, weight: nn.Parameter) -> torch.Tensor:
        import deepspeed

        with deepspeed.zero.GatheredParameters([weight], enabled=self._stage == 3):
            return weight.detach().clone()

    def _gather(self) -> Iterator[tuple[str, torch.Tensor]]:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        states = list(self._engine.optimizer.optimizer.state.values())
        for name, weight in self._weights.items():
            yield f"weight/{name}", safe_get_full_fp32_param(weight)
            if states:
                yield f"step/{name}", states[0]["step"]
                for moment in _MOMENTS:
                    yield f"{moment}/{name}", safe_get_full_optimizer_state(weight, moment)

    def _restore_moments(self, tensors: Mapping[str, torch.Tensor]) -> None:
        if self._stage == 0:
            restore_moments(self._weights, self._engine.optimizer, tensors)
            return
        moments = moments_of(tensors)
        if not moments:
            return
        self._make_moments(next(iter(moments.values()))["step"])
        for name, state in moments.items():
            for moment in _MOMENTS:
                self._set_moment(self._weights[name], moment, state[moment])

    def _make_moments(self, step: torch.Tensor) -> None:
        """What the optimizer would make in its first step: moments of each flat piece of the weights."""
        sharded = self._engine.optimizer
        pieces = sharded.fp32_partitioned_groups_flat if self._stage == 3 else sharded.single_partition_of_fp32_groups
        for piece in pieces:
            state = {moment: torch.zeros_like(piece) for moment in _MOMENTS}
            sharded.optimizer.state[piece] = {"step": step.to(piece.device, copy=True)} | state
        if self._stage < 3:
            sharded._lazy_init_hp_params_optimizer_state()

    def _set_moment(self, weight: Any, moment: str, value: torch.Tensor) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        value = value.to(self._device)
        if self._stage < 3:
            safe_set_full_optimizer_state(weight, value, moment)
            return
        # DeepSpeed's own way of cutting fails for weights whose size is no multiple of the number of processes.
        length = weight.ds_tensor.numel()
        padded = value.new_zeros(length * ranks.count())
        padded[: value.numel()] = value.flatten()
        safe_set_local_optimizer_state(weight, padded.narrow(0, length * ranks.rank(), length), moment)


def _initialize(network: Any, optimizer: torch.optim.Optimizer, stage: int) -> Any:
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
                # As transformers chooses it: biases and norms stay whole.
                "stage3_param_persistence_threshold": 10 * network.config.get_text_config().hidden_size,
            },
        },
    )[0]


def _recompute_layers(network: nn.Module) -> None:
    """transformers' own switch works only where dropout is on (``training``)."""
    for layer in network.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Standard output belongs to the stage's events; DeepSpeed writes to it."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
