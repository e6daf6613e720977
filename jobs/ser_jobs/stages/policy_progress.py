"""Progress and checkpoints of the stages `sft` and `ppo`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ser_core.learn.compute import ranks
from ser_core.learn.policy.alignment import Answer
from ser_core.learn.policy.ppo import checkpoint
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.state import SavedState
from ser_core.learn.policy.supervised import FILES, FineTuningState
from ser_jobs.process.context import StageContext
from ser_jobs.stages.stage_watch import StageWatch

_BASELINE = "baseline.json"


class SupervisedProgress(StageWatch):
    """The `Watch` of a fine-tuning.

    Args:
        context: Shows the progress and keeps the checkpoints.
        total: Number of optimizer steps.
        device: Device of the networks.
    """

    def __init__(self, context: StageContext, total: int, device: str) -> None:
        super().__init__(context, device)
        self._total = total
        context.reporter.progress(0, total, "steps")

    def save(self, state: FineTuningState) -> None:
        """Keep a checkpoint."""
        self._keep_together(len(state.losses), state.write)

    def stepped(self, step: int, loss: float) -> None:
        """One more optimizer step is done."""
        self._context.measurements.fine_tuned(loss)
        self._context.reporter.progress(step, self._total, "steps")

    def resume(self) -> FineTuningState | None:
        """State to go on from; None: there is no checkpoint. All ranks call it together."""
        self._set_aside_earlier_versions()
        files = self._newest()
        return FineTuningState.read(files["state.safetensors"].parent) if files else None

    def _set_aside_earlier_versions(self) -> None:
        """Up to version 0.1.0 checkpoints of a fine-tuning were pickled, and nothing is unpickled."""
        found = self._context.checkpoints.newest_files()
        if ranks.anywhere(bool(found) and found != set(FILES), self._device) and self._context.rank == 0:
            self._context.reporter.event("checkpoint-set-aside", why="an earlier version wrote it; the fine-tuning starts again")
            self._context.checkpoints.delete_all()
        ranks.anywhere(False, self._device)  # none looks for a checkpoint before that


class PolicyProgress(StageWatch):
    """The `Watch` of an alignment. A checkpoint holds the alignment's state, and the evaluation's answers before the alignment.

    Args:
        context: Shows the progress and keeps the checkpoints.
        total: Number of PPO steps.
        device: Device of the networks.
    """

    def __init__(self, context: StageContext, total: int, device: str) -> None:
        super().__init__(context, device)
        self._total = total
        self.saved: SavedState | None = None
        """What to resume from; None: there is no checkpoint."""
        self.baseline: Sequence[Answer] = ()
        """The evaluation's answers before the alignment."""
        self._resume()
        context.reporter.progress(len(self.saved.state.history) if self.saved else 0, total, "steps")

    def save(self, saved: SavedState) -> None:
        """Keep a checkpoint."""
        self._keep_together(len(saved.state.history), lambda folder: self._write(saved, folder))

    def stepped(self, metrics: StepMetrics) -> None:
        """One more PPO step is done."""
        self._context.measurements.aligned(metrics)
        self._context.reporter.progress(metrics.step, self._total, "steps")

    def _write(self, saved: SavedState, folder: Path) -> Mapping[str, Path]:
        files = checkpoint.write(saved, folder) | {_BASELINE: folder / _BASELINE}
        files[_BASELINE].write_text(json.dumps([asdict(answer) for answer in self.baseline]), encoding="utf-8")
        return files

    def _resume(self) -> None:
        files = self._newest()
        if files is None:
            return
        self.saved = checkpoint.read(files[_BASELINE].parent)
        self.baseline = [Answer(**answer) for answer in json.loads(files[_BASELINE].read_text(encoding="utf-8"))]
