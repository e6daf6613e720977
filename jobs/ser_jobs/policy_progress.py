"""How far the stages of the policy are: what they show, and their checkpoints."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ser_core.learn.alignment import Answer
from ser_core.learn.ppo.metrics import StepMetrics
from ser_core.learn.ppo.state import PPOState
from ser_jobs.checkpoint_interval import CheckpointInterval
from ser_jobs.context import StageContext

_BASELINE = "baseline.json"


class SupervisedProgress:
    """The `Watch` of a fine-tuning.

    Args:
        context: Where progress is shown and checkpoints are kept.
        total: Optimizer steps.
    """

    def __init__(self, context: StageContext, total: int) -> None:
        self._context = context
        self._total = total
        self._interval = CheckpointInterval()
        context.reporter.progress(0, total, "steps")

    def stopping(self) -> bool:
        """Whether the stage was asked to stop."""
        return self._context.stopping()

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        return self._interval.due()

    def save(self, step: int, files: Mapping[str, Path]) -> None:
        """Keep a checkpoint."""
        self._context.silent("saving a checkpoint")
        if self._context.rank == 0:
            self._interval.measure(lambda: self._context.checkpoints.save(step, files))

    def stepped(self, step: int, loss: float) -> None:
        """One more optimizer step is done."""
        self._context.measurements.fine_tuned(loss)
        self._context.reporter.progress(step, self._total, "steps")

    def resume(self) -> Path | None:
        """Folder of the newest checkpoint."""
        saved = self._context.checkpoints.newest(self._context.workdir)
        if saved is None:
            return None
        self._context.reporter.event("resumed", step=saved[0])
        return next(iter(saved[1].values())).parent


class PolicyProgress:
    """The `Watch` of an alignment. A checkpoint holds its state and the answers of the policy before it.

    Args:
        context: Where progress is shown and checkpoints are kept.
        total: PPO steps.
    """

    def __init__(self, context: StageContext, total: int) -> None:
        self._context = context
        self._total = total
        self._interval = CheckpointInterval()
        self.state: PPOState | None = None
        """The state to go on from."""
        self.baseline: Sequence[Answer] = ()
        self._resume()
        context.reporter.progress(len(self.state.history) if self.state else 0, total, "steps")

    def stopping(self) -> bool:
        """Whether the stage was asked to stop."""
        return self._context.stopping()

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        return self._interval.due()

    def save(self, state: PPOState) -> None:
        """Keep a checkpoint."""
        self._context.silent("saving a checkpoint")
        if self._context.rank == 0:
            self._interval.measure(lambda: self._save(state))

    def stepped(self, metrics: StepMetrics) -> None:
        """One more PPO step is done."""
        self._context.measurements.aligned(metrics)
        self._context.reporter.progress(metrics.step, self._total, "steps")

    def _save(self, state: PPOState) -> None:
        folder = self._context.workdir / "checkpoint"
        folder.mkdir(exist_ok=True)
        files = state.write(folder) | {_BASELINE: folder / _BASELINE}
        files[_BASELINE].write_text(json.dumps([asdict(answer) for answer in self.baseline]), encoding="utf-8")
        self._context.checkpoints.save(len(state.history), files)

    def _resume(self) -> None:
        saved = self._context.checkpoints.newest(self._context.workdir)
        if saved is None:
            return
        step, files = saved
        self.state = PPOState.read(files[_BASELINE].parent)
        self.baseline = [Answer(**answer) for answer in json.loads(files[_BASELINE].read_text(encoding="utf-8"))]
        self._context.reporter.event("resumed", step=step)
