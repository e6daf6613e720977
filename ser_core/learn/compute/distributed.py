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

import contextlib
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import (
    ADAM,
    MOMENTS,
    AdamSettings,
    Engine,
    LocalEngine,
    adamw,
    copied,
    moved,
    recompute_layers,
    restore_moments,
    restore_weights,
    set_rate,
    state_tensors,
)
from ser_core.learn.compute.offload import MAIN_MEMORY
from ser_core.learn.compute.parts import computed_by_row, trainable
from ser_core.learn.compute.pieces import cut_all, cut_layers, cut_weights, piece_of
from ser_core.learn.compute.placing import numbers_for_all, place, replace_weights
from ser_core.learn.compute.precision import Precision, gpu_memory
from ser_core.learn.compute.saved_tensors import key_of
from ser_core.learn.compute.unread import release
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


class DeepSpeedEngine(ABC):
    """An `Engine` of all ranks of the process group. Gradients and weights are equal to those of one process but for rounding.

    Args:
        network: The same on every rank. DeepSpeed owns its parameters from here until `close`.
        rate: Of the first step.
        tensors: What `tensors` returned on all ranks, put together, to go on from. Any engine on any number of ranks may have made it.
        sharding: The ZeRO stage, one of the class's own, and whether layers are computed again in the backward pass.
        training: Its sizes, by which processes exchange numbers.
        settings: Of the optimizer.
        device: Where it is trained.
    """

    def __init__(
        self,
        network: Any,
        rate: float,
        tensors: Mapping[str, torch.Tensor] | None,
        sharding: Sharding,
        training: Training,
        settings: AdamSettings = ADAM,
        device: str = "cpu",
    ) -> None:
        self._whole = network
        self._sharding = sharding
        self._settings = settings
        self._has_gradients = False
        self._device = device
        if tensors is not None:
            restore_weights(dict(trainable(network)), tensors)
        for head in computed_by_row(network):
            # It is called once for each row. Ranks have different numbers of rows, but must gather its weights once.
            head._z3_leaf = True  # type: ignore[assignment]
        if sharding.recompute:
            recompute_layers(network)
        config = _config(network, sharding.stage, training, settings.largest_gradient_norm)
        with _quiet():
            _compile_nothing()
            self._cut(network, config)
            self._weights = dict(trainable(network))
            self.network = _initialize(network, adamw(self._weights, rate, settings, offload=sharding.offload), config)
        if tensors is not None:
            self._restore_moments(tensors)

    def _cut(self, network: nn.Module, config: Mapping[str, Any]) -> None:  # noqa: B027  (most need nothing)
        """Cut the weights where the engine holds pieces of them alone."""

    def start_step(self) -> None:
        """As `Engine` says. A step leaves no gradient behind, but the one before may not have been taken."""
        if self._has_gradients:
            self._forget()
            self._has_gradients = False

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """As `Engine` says. DeepSpeed takes the mean over ranks, and would lose gradients without being told the last micro-batch."""
        self._has_gradients = True
        self.network.set_gradient_accumulation_boundary(last)
        self.network.backward(loss * ranks.count())

    def step(self, rate: float) -> float:
        """As `Engine` says."""
        self._has_gradients = False
        return self._step(rate)

    def rest(self) -> None:  # noqa: B027  (most need nothing)
        """As `Engine` says."""

    @abstractmethod
    def _step(self, rate: float) -> float:
        """Clip the gradient, take the step, return the norm."""

    @abstractmethod
    def _forget(self) -> None:
        """Leave no gradient of the micro-batches behind, of which the last is done."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """As `Engine` says; copies in main memory."""

    @abstractmethod
    def weights(self) -> dict[str, torch.Tensor]:
        """As `Engine` says."""

    def own(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As `Engine` says."""
        return dict(weights) if ranks.rank() == 0 else {}

    def put_back(self, weights: Mapping[str, torch.Tensor]) -> None:
        """As `Engine` says. Moments that are zero are those of a new optimizer."""
        for name, weight in self._weights.items():
            self._overwrite(name, weight, weights)
        optimizer = self.network.optimizer
        for state in getattr(optimizer, "optimizer", optimizer).state.values():
            for number in state.values():
                number.zero_()

    def _overwrite(self, name: str, weight: nn.Parameter, values: Mapping[str, torch.Tensor]) -> None:
        """Give all ranks the value that rank 0 has."""
        if name in values:
            weight.data.copy_(values[name])
        ranks.spread([weight])

    def drop(self) -> None:
        """As `Engine` says."""
        optimizer = self.network.optimizer
        self.network.destroy()
        getattr(optimizer, "optimizer", optimizer).state.clear()
        vars(optimizer).clear()

    def close(self) -> None:
        """As `Engine` says: new parameters take the place of DeepSpeed's, whose data are views of buffers or pieces.

        Before they are made, everything goes that only training needs: both together may not fit.
        """
        self.drop()
        weights = self._whole.parameters()
        replace_weights(self._whole, {id(weight): self._plain(weight) if weight.requires_grad else weight for weight in weights})

    def _plain(self, weight: nn.Parameter) -> nn.Parameter:
        """A parameter of the same numbers in memory of its own."""
        return nn.Parameter(weight.detach().clone())

    @abstractmethod
    def _restore_moments(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put the optimizer's state where this engine keeps it."""


class ReplicatedEngine(DeepSpeedEngine):
    """ZeRO stage 0: every rank holds everything."""

    def _step(self, rate: float) -> float:
        """DeepSpeed does not clip at this stage as it does from stage 1 on, so it is done here."""
        norm = nn.utils.clip_grad_norm_(self._weights.values(), self._settings.largest_gradient_norm).item()
        if math.isfinite(norm):
            set_rate(self.network.optimizer, rate)
            self.network.step()
        else:
            self._forget()
        return norm

    def _forget(self) -> None:
        self.network.optimizer.zero_grad()

    def tensors(self) -> dict[str, torch.Tensor]:
        """As `Engine` says; copies in main memory."""
        found = state_tensors(self._weights, self.network.optimizer) if ranks.rank() == 0 else {}
        return copied(found)

    def weights(self) -> dict[str, torch.Tensor]:
        """As `Engine` says."""
        return copied(self._weights) if ranks.rank() == 0 else {}

    def _plain(self, weight: nn.Parameter) -> nn.Parameter:
        return nn.Parameter(weight.detach())

    def _restore_moments(self, tensors: Mapping[str, torch.Tensor]) -> None:
        restore_moments(self._weights, self.network.optimizer, tensors)


class ShardedStateEngine(DeepSpeedEngine):
    """ZeRO stages 1 and 2: each rank holds its piece of the optimizer, at stage 2 also of the gradients."""

    def _step(self, rate: float) -> float:
        """DeepSpeed clips in its step, and skips it when the norm is not finite."""
        set_rate(self.network.optimizer, rate)
        self.network.step()
        # After a step that it skipped, stage 3 tells the norm of the step before.
        return math.inf if self.network.optimizer.overflow else float(self.network.get_global_grad_norm())

    def _forget(self) -> None:
        """DeepSpeed has no call for it, but forgets a gradient that is not finite."""
        for gradients in self.network.optimizer.averaged_gradients.values():
            for gradient in gradients or ():
                gradient.fill_(math.nan)
        self.network.step()

    def tensors(self) -> dict[str, torch.Tensor]:
        """As `Engine` says; copies in main memory of this rank's pieces."""
        states = list(self.network.optimizer.optimizer.state.values())
        found = {}
        for name, weight in self._weights.items():
            start, shape, owned = self._owned(weight, moments=bool(states))
            for kind, values in owned.items():
                copy = values.detach().to("cpu", copy=True)
                whole = copy.numel() == math.prod(shape)
                found[key_of(f"{kind}/{name}", start, copy.numel(), shape)] = copy.view(shape) if whole else copy
            if owned and states:
                found[f"step/{name}"] = states[0]["step"].to("cpu", copy=True)
        return found

    def weights(self) -> dict[str, torch.Tensor]:
        """As `Engine` says. They are gathered one after the other."""
        from deepspeed.utils import safe_get_full_fp32_param

        gathered = {}
        for name, weight in self._weights.items():
            whole = safe_get_full_fp32_param(weight)
            if ranks.rank() == 0:
                gathered[name] = whole.to("cpu", copy=True)
        return gathered

    def put_back(self, weights: Mapping[str, torch.Tensor]) -> None:
        """As `Engine` says."""
        super().put_back(weights)
        self.network.optimizer.refresh_fp32_params()

    def _owned(self, weight: Any, *, moments: bool) -> tuple[int, Sequence[int], dict[str, torch.Tensor]]:
        """Number of the first of a weight's numbers that this rank owns, the weight's shape, and the numbers, flat, by kind."""
        piece = weight._hp_mapping
        if piece is None:
            return 0, weight.shape, {}
        owned = {"weight": piece.hp_fragment}
        owned |= {moment: piece.get_optim_state_fragment(moment) for moment in MOMENTS if moments}
        return piece.lp_fragment_address.start, weight.shape, owned

    def _restore_moments(self, tensors: Mapping[str, torch.Tensor]) -> None:
        names = moved(tensors)
        if not names:
            return
        device = MAIN_MEMORY if self._sharding.offload else self._device
        self._make_moments(tensors[f"step/{names[0]}"], device)
        for name in names:
            for moment in MOMENTS:
                self._set_moment(self._weights[name], moment, tensors[f"{moment}/{name}"].to(device))

    def _make_moments(self, step: torch.Tensor, device: str) -> None:
        """What the optimizer would make in its first step: moments of each flat piece of the weights."""
        sharded = self.network.optimizer
        for piece in self._pieces(sharded):
            state = {moment: torch.zeros_like(piece, device=device) for moment in MOMENTS}
            sharded.optimizer.state[piece] = {"step": step.to(device, copy=True)} | state
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

    def _cut(self, network: nn.Module, config: Mapping[str, Any]) -> None:
        """One weight is whole at a time: a device may have no room for all."""
        import deepspeed

        numbers = numbers_for_all(network, self._device)
        before = list(network.parameters())
        # What has no numbers cannot get any.
        weights: list[Any] = [nn.Parameter(torch.empty(0), weight.requires_grad) if weight.is_meta else weight for weight in before]
        replace_weights(network, {id(old): new for old, new in zip(before, weights, strict=True)})
        for old, new in zip(before, weights, strict=True):
            new.data = numbers(old)
            release(old)
            if new is weights[0]:
                deepspeed.zero.Init(module=nn.ParameterList([new]), config_dict_or_path=dict(config), dtype=torch.float32)
            else:
                weights[0].convert_to_zero_parameters(param_list=[new])

    def rest(self) -> None:
        """As `Engine` says. A weight on its way can be neither gathered by others nor cut."""
        self.network.optimizer.empty_partition_cache()

    def put_back(self, weights: Mapping[str, torch.Tensor]) -> None:
        """As `Engine` says."""
        self.rest()
        super().put_back(weights)

    def weights(self) -> dict[str, torch.Tensor]:
        """As `Engine` says."""
        found = {name: self._owned(weight, moments=False) for name, weight in self._weights.items()}
        return {
            key_of(name, start, len(owned["weight"]), shape): owned["weight"].detach().to("cpu", copy=True)
            for name, (start, shape, owned) in found.items()
            if owned
        }

    def own(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As `Engine` says."""
        places = {name: self._place(weight) for name, weight in self._weights.items()}
        wholes = ((name, weights[name], start, count) for name, (start, count) in places.items() if count)
        return {
            key_of(name, start, count, whole.shape): whole.flatten()[start : start + count].clone() for name, whole, start, count in wholes
        }

    def _overwrite(self, name: str, weight: Any, values: Mapping[str, torch.Tensor]) -> None:
        """Put the pieces of all ranks together, and cut the weight again."""
        import deepspeed

        start, count = self._place(weight)
        piece = torch.zeros(weight.ds_tensor.numel(), device=self._device)
        if count:
            piece[:count] = values[key_of(name, start, count, weight.ds_shape)].flatten()
        whole = ranks.collect(piece).flatten()[: weight.ds_numel].view(weight.ds_shape)
        with deepspeed.zero.GatheredParameters([weight], modifier_rank=0):
            weight.data.copy_(whole)

    def _place(self, weight: Any) -> tuple[int, int]:
        """Number of the first of a weight's numbers that this rank owns, and how many it owns."""
        length = weight.ds_tensor.numel()
        return length * ranks.rank(), max(0, min(length, weight.ds_numel - length * ranks.rank()))  # the last pieces are padded

    def drop(self) -> None:
        """As `Engine` says."""
        self.rest()
        super().drop()

    def close(self) -> None:
        """As `Engine` says."""
        self.drop()
        if self._sharding.pieces:
            learnt_all = all(weight.requires_grad for weight in self._whole.parameters())
            (cut_all if learnt_all else cut_layers)(self._whole, self._device, numbers=self._full)
        else:
            weights = self._whole.parameters()
            replace_weights(self._whole, {id(weight): nn.Parameter(self._full(weight), weight.requires_grad) for weight in weights})

    def _full(self, weight: nn.Parameter) -> torch.Tensor:
        import deepspeed

        with deepspeed.zero.GatheredParameters([weight]):
            return weight.detach().clone()

    def _owned(self, weight: Any, *, moments: bool) -> tuple[int, Sequence[int], dict[str, torch.Tensor]]:
        from deepspeed.utils import safe_get_local_fp32_param, safe_get_local_optimizer_state

        start, count = self._place(weight)
        if not count:
            return 0, weight.ds_shape, {}
        owned = {"weight": safe_get_local_fp32_param(weight)}
        owned |= {moment: safe_get_local_optimizer_state(weight, moment) for moment in MOMENTS if moments}
        return start, weight.ds_shape, {kind: values.flatten()[:count] for kind, values in owned.items()}

    def _pieces(self, sharded: Any) -> list[torch.Tensor]:
        pieces: list[torch.Tensor] = sharded.fp32_partitioned_groups_flat
        return pieces

    def _moments_made(self, sharded: Any) -> None:
        """DeepSpeed finds them without being told."""

    def _set_moment(self, weight: Any, moment: str, value: torch.Tensor) -> None:
        from deepspeed.utils import safe_set_local_optimizer_state

        # DeepSpeed's own way of cutting fails for weights whose size is no multiple of the number of ranks.
        safe_set_local_optimizer_state(weight, piece_of(value, weight.ds_tensor.numel()), moment)


def distributed_engine(
    network: Any,
    rate: float,
    tensors: Mapping[str, torch.Tensor] | None,
    sharding: Sharding,
    training: Training,
    settings: AdamSettings = ADAM,
    device: str = "cpu",
) -> DeepSpeedEngine:
    """The engine of a ZeRO stage; arguments as `DeepSpeedEngine` takes them."""
    kinds = (ReplicatedEngine, ShardedStateEngine, ShardedStateEngine, ShardedWeightsEngine)
    return kinds[sharding.stage](network, rate, tensors, sharding, training, settings, device)


def _config(network: Any, stage: int, training: Training, largest_norm: float) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": 1,  # not used: micro-batches are cut by tokens
        "gradient_accumulation_steps": 1,
        "gradient_clipping": largest_norm if stage else 0.0,
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
    }


def _compile_nothing() -> None:
    import deepspeed

    # It would be compiled at the start, for reductions that training does not use.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def _initialize(network: Any, optimizer: torch.optim.Optimizer, config: Mapping[str, Any]) -> Any:
    import deepspeed

    return deepspeed.initialize(model=network, optimizer=optimizer, config=dict(config))[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Standard output belongs to the stage's events; DeepSpeed writes to it."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
