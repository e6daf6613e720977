"""Bytes of a pod's main memory: what its processes hold there beside what is on their GPUs."""

from dataclasses import dataclass

from ser_core.memory.amounts import GIBIBYTE, Amounts, amounts, most
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import NUMBER

_LIBRARIES = 2 * GIBIBYTE
"""Of one process: torch, CUDA's part and the data. Assumed."""
_SAVED = 3 * NUMBER
"""Bytes of each weight that learns, in a checkpoint: itself and its two moments."""
LARGEST_FILE = 4 * GIBIBYTE
"""Bytes of a model's file, which its writer holds."""


@dataclass(frozen=True, slots=True)
class Loading:
    """What the processes of a pod read.

    Attributes:
        model: The largest.
        readers: Processes that read it: all, or the first, which gives it to the others.
        whole: Of another model, which each process holds whole and in fp32; 0: there is none.
    """

    model: ModelShape
    readers: int
    whole: int = 0

    @property
    def bytes(self) -> int:
        """Weights are read one after the other, and each is copied once: lengthened, or made what is computed with."""
        return NUMBER * (self.readers * 2 * self.model.largest + self.whole)


def host_bytes(
    loading: Loading, *, in_pod: int, learning: float = 0, fall_back: float = 0, moments: float = 0, resting: float = 0
) -> Amounts:
    """Bytes of the pod that needs the most, which is that of rank 0.

    Args:
        loading: What is read.
        in_pod: Processes of one pod.
        learning: Numbers that learn and that processes of the pod save; 0: nothing is saved.
        fall_back: Those of them that processes of the pod keep copies of from step to step.
        moments: Bytes of the optimizer's moments that are there.
        resting: Bytes of the models that are there while they do not score.
    """
    kept = amounts({"libraries": in_pod * _LIBRARIES, "models that only score": resting})
    loaded = amounts({"models while they are loaded": loading.bytes})
    saved = {"a checkpoint while it is saved": _SAVED * learning, "weights to fall back on": NUMBER * fall_back}
    steps = amounts(saved | {"moments": moments})
    written = amounts({"a file while it is written": min(LARGEST_FILE, NUMBER * learning)})
    return kept + most((loaded, steps, written))
