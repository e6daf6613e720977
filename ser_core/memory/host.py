"""Bytes of a pod's main memory: what its processes hold there beside what is on their GPUs."""

from ser_core.memory.amounts import GIBIBYTE, Amounts, amounts, most
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import NUMBER

_LIBRARIES = 2 * GIBIBYTE
"""Of one process: torch, CUDA's part and the data. Assumed."""
_SAVED = 3 * NUMBER
"""Bytes of each weight that learns, in a checkpoint: itself and its two moments."""


def host_bytes(loaded: ModelShape, *, learning: float, fall_back: int, in_pod: int, reading: int) -> Amounts:
    """Bytes of the pod that needs the most, which is that of rank 0.

    Args:
        loaded: The largest model of the stage. Who reads it holds it whole, in fp32, until the GPUs have what they need.
        learning: Numbers that learn and that processes of the pod save; 0: nothing is saved.
        fall_back: Those of them that rank 0 keeps copies of from step to step.
        in_pod: Processes of one pod.
        reading: Those of them that read the model: all, or the first, which gives it to the others.
    """
    libraries = amounts({"libraries": in_pod * _LIBRARIES})
    loading = amounts({"models while they are loaded": reading * NUMBER * (loaded.weights + loaded.output)})
    steps = amounts({"a checkpoint while it is saved": _SAVED * learning, "weights to fall back on": NUMBER * fall_back})
    return libraries + most((loading, steps))
