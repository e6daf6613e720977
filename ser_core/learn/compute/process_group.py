"""The processes of one stage meet: torch's process group, and what they must agree on before they compute.

Who they are is told by torchrun's variables (``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``).
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

import torch
from torch import distributed

from ser_core.errors import StoreError
from ser_core.learn.compute import ranks

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others. The supervisor finds a process that hangs long before, by its heartbeat."""


@contextlib.contextmanager
def process_group(*, rank: int = -1, count: int = -1) -> Iterator[None]:
    """Join the process group that torchrun's variables describe, and leave it at the end; without them, or inside a group, nothing happens.

    ``rank`` and ``count``, where given, are those of a smaller group: of the processes of one pod.

    One group is all that a process can have: DeepSpeed remembers the first.

    After an error no process waits for the others: they may not know of it, and the supervisor ends them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE, rank=rank, world_size=count)
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
