"""What all engines on DeepSpeed share, which is driven directly."""

import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import AdamSettings, adamw, recompute_layers, restore_weights
from ser_core.learn.compute.parts import computed_by_row, trainable
from ser_core.learn.compute.placing import replace_weights
from ser_core.memory.training import Sharding, Training


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
        settings: AdamSettings,
        device: str,
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
