"""Floating-point operations of a case, and the share that they are of what the GPU can."""

import torch

from benchmarks.gpu.case import Case
from ser_core.memory.shape import ModelShape

_PASSES = {"forward": 2, "adapter": 4, "all weights": 6}
"""Floating-point operations for each weight and token: a forward pass; with the backward pass of an adapter, or of all weights (Kaplan et
al. 2020, arXiv 2001.08361). Attention and what is computed again are not counted."""
_PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}
"""Dense bf16 operations a second, as the makers state them."""


def device_name() -> str:
    """Name of the GPU, or what there is instead."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def share_of_peak(weight_passes: float, shape: ModelShape, device: str) -> float | None:
    """Share of a device's bf16 operations.

    Args:
        weight_passes: Tokens a second times floating-point operations for each weight and token.
        shape: Of the model.
        device: Its name; None is returned where its peak is not known.
    """
    peak = next((size for name, size in _PEAKS.items() if name in device), None)
    return None if peak is None else weight_passes * (shape.weights + shape.output) / peak


def passes_of(case: Case) -> float:
    """Operations for each weight and counted token. In `ppo` a counted token is one of a prompt or an answer: it is generated or read,
    scored, and passes through policy, reference and critic, then through both trainings.
    """
    forward, trained = _PASSES["forward"], _PASSES["adapter" if case.adapter else "all weights"]
    trainings = {"retrain": trained, "sft": trained, "ppo": 5 * forward + 2 * trained, "reward-trainer": _PASSES["all weights"]}
    return trainings.get(case.work, forward)
