"""ZeRO stage 0: every process has everything."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import copied, restore_moments, set_rate, state_tensors
from ser_core.learn.compute.sharded.deepspeed_engine import DeepSpeedEngine


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
