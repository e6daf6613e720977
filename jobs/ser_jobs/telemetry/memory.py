"""How much memory a stage has used, and the error if that was too much."""

import resource
import sys

from ser_core.api.status import StageKind
from ser_core.errors import OutOfMemory
from ser_core.loop.deciding.stages import resource_kind
from ser_core.loop.deciding.token_budget import computes_in_batches
from ser_core.memory.plan import StagePlan
from ser_core.memory.words import host_line, memory_line
from ser_jobs.telemetry.control_group import peak_bytes


def out_of_memory(error: Exception, stage: StageKind, planned: StagePlan | None = None) -> OutOfMemory:
    """The error of a stage that had no memory left: it names the memory that was used, and the settings that decide how much is needed.

    Args:
        error: The library's own. A `MemoryError` speaks of main memory, whatever the GPU has held.
        stage: The stage; its kind decides which resources to raise.
        planned: What it was planned to need; None: nothing was planned.
    """
    used, where = peak_of_main_memory() if isinstance(error, MemoryError) else peak_memory()
    told = str(error).split("\n")[0]
    line = "" if planned is None else memory_line(planned) if where == "GPU" else host_line(planned)
    message = f"out of {where} memory after {used / 2**30:.1f} GiB{f': {told}' if told else ''}{_planned(line)}"
    return OutOfMemory(message, hint=_remedy(stage, "gpus" if where == "GPU" else "memory"))


def out_of_memory_of_container(rank: int, stage: StageKind, planned: str) -> OutOfMemory:
    """The error of a stage of which the kernel killed a process because the container had no memory left.

    Args:
        rank: Of the process.
        stage: The stage.
        planned: What the process was planned to need of main memory (`host_line`); empty: nothing was planned.
    """
    used = peak_bytes()
    after = f" after {used / 2**30:.1f} GiB" if used is not None else ""
    return OutOfMemory(f"out of main memory{after}: the kernel killed rank {rank}{_planned(planned)}", hint=_remedy(stage, "memory"))


def _planned(line: str) -> str:
    return f"; planned was {line}" if line else ""


def _remedy(stage: StageKind, field: str) -> str:
    if not computes_in_batches(stage):
        return f"raise resources.{resource_kind(stage)}.{field}"
    return f"raise resources.{resource_kind(stage)}.{field}, or lower training.tokensPerBatch; in another run also rewardModel.maxLength"


def peak_memory() -> tuple[int, str]:
    """Most bytes that this process has held so far, and where: on its ``GPU`` if it used one, else in ``main`` memory."""
    torch = sys.modules.get("torch")  # only where the stage has imported it
    on_gpu = int(torch.cuda.max_memory_allocated()) if torch is not None and torch.cuda.is_initialized() else 0
    if on_gpu:
        return on_gpu, "GPU"
    return peak_of_main_memory()


def peak_of_main_memory() -> tuple[int, str]:
    """`peak_memory` of a process that has used no GPU."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "main"
