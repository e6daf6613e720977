"""The part of a `Watch` that all trainings share: when to stop, when to save, and the checkpoints."""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ser_core.learn.compute import ranks
from ser_core.learn.compute.process_group import agree_on_the_step
from ser_core.store.stages.checkpoints import Together
from ser_jobs.process.context import StageContext
from ser_jobs.training.checkpoint_interval import CheckpointInterval


class StageWatch:
    """Says when to stop and when to save, and keeps the checkpoints. The clock of rank 0 decides when to save.

    Args:
        context: Where progress is shown and checkpoints are kept.
        device: Where models are computed.
    """

    def __init__(self, context: StageContext, device: str) -> None:
        self._context = context
        self._device = device
        self._interval = CheckpointInterval(lambda: context.checkpoints.beside)

    def stopping(self) -> bool:
        """Whether the stage was asked to stop."""
        return self._context.stopping()

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        return self._context.rank == 0 and self._interval.due()

    def silent(self, phase: str) -> None:
        """Work without steps begins."""
        self._context.silent(phase)

    def _keep_own(self, step: int, write: Callable[[Path], Mapping[str, Path]]) -> None:
        """Keep a checkpoint of what rank 0 has: of the files that ``write`` makes in a folder."""
        self.silent("saving a checkpoint")
        if self._context.rank == 0:
            self._save(step, write, None)

    def _keep_together(self, step: int, write: Callable[[Path], Mapping[str, Path]]) -> None:
        """Keep a checkpoint of what all processes have: of the files that ``write`` makes in each. All processes call it together."""
        self.silent("saving a checkpoint")
        together = None
        if self._context.world_size > 1:
            self._context.checkpoints.wait()  # in every process, before any begins the next
            name = int(ranks.collect(torch.tensor(secrets.randbits(31), device=self._device))[0])
            together = Together(self._context.rank, self._context.world_size, f"{name:08x}")
        self._save(step, write, together)
        if together is not None and ranks.anywhere(self.stopping(), self._device):
            self._context.checkpoints.wait()  # in every process: the end of one may be the end of all

    def finish(self) -> None:
        """Nothing is saved any more. When it returns, the uploads of all processes have ended: rank 0 may remove the checkpoints."""
        if self._context.world_size > 1:
            self._context.checkpoints.wait()
            ranks.meet(self._device)

    def _save(self, step: int, write: Callable[[Path], Mapping[str, Path]], together: Together | None) -> None:
        folder = self._context.workdir / "checkpoint"
        folder.mkdir(exist_ok=True)
        self._context.checkpoints.save(step, write(folder), together)
        self._interval.saved()

    def _newest(self) -> dict[str, Path] | None:
        """Files of the newest checkpoint, in one folder; None: there is none. All ranks call it together."""
        saved = self._context.newest_checkpoint()
        agree_on_the_step(saved[0] if saved else -1, self._device)
        if saved is None:
            return None
        self._context.reporter.event("resumed", step=saved[0])
        return saved[1]
