"""AdamW for a training whose GPU has no room for its moments: they are in main memory (Ren et al. 2021, arXiv 2101.06840)."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

from ser_core.memory.training import LARGEST_PART

MAIN_MEMORY = "cpu"


class OffloadedAdamW(torch.optim.AdamW):
    """Takes the steps of `torch.optim.AdamW`, fused, where the weights are.

    The moments come there part by part, and go back. The published method computes the step on the processor, by a program that it compiles
    first; results would then be others than without it.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # nothing here needs a closure
        """Take one step."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._change(weight, weight.grad, group)

    def _change(self, weight: nn.Parameter, gradients: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight] or self._begin(weight)
        moments = state["exp_avg"], state["exp_avg_sq"]
        for part, gradient, *own in zip(*map(_parts, (weight, gradients, *moments)), strict=True):
            mean, square = (moment.to(part.device, copy=True) for moment in own)
            adamw(
                [part],
                [gradient],
                [mean],
                [square],
                [],
                [state["step"].to(part.device, copy=True)],
                fused=True,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )
            for moment, changed in zip(own, (mean, square), strict=True):
                moment.copy_(changed)
        state["step"] += 1

    def _begin(self, weight: nn.Parameter) -> dict[str, torch.Tensor]:
        moments = {name: torch.zeros_like(weight, device=MAIN_MEMORY) for name in ("exp_avg", "exp_avg_sq")}
        state = self.state[weight] = {"step": torch.zeros((), device=MAIN_MEMORY), **moments}
        return state


def _parts(numbers: torch.Tensor) -> Iterator[torch.Tensor]:
    """Views of a tensor, row by row, of about `LARGEST_PART` numbers."""
    rows = torch.atleast_1d(numbers.detach())
    return iter(rows.split(max(1, LARGEST_PART // max(1, math.prod(rows.shape[1:])))))
