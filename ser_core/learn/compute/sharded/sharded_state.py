"""ZeRO stages 1 and 2: each process has a piece of the optimizer, and at stage 2 of the gradients."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import MOMENTS, moved, set_rate
from ser_core.learn.compute.offload import MAIN_MEMORY
from ser_core.learn.compute.saved_tensors import key_of
from ser_core.learn.compute.sharded.deepspeed_engine import DeepSpeedEngine


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
