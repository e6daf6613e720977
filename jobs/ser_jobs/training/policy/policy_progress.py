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
from ser_jobs.training.stage_watch import StageWatch

_BASELINE = "baseline.json"


class SupervisedProgress(StageWatch):
    """The `Watch` of a fine-tuning. A checkpoint holds its state, and a file whose name is the digest of what it learns.

    Args:
        context: Shows the progress and keeps the checkpoints.
        total: Number of optimizer steps.
        device: Device of the networks.
        learns: Digest of the token ids that are learnt (`ser_core.learn.policy.supervised.digest`).
    """

    def __init__(self, context: StageContext, total: int, device: str, learns: str) -> None:
        super().__init__(context, device)
        self._total = total
        self._learnt = f"learnt-{learns}"
        context.reporter.progress(0, total, "steps")

    def save(self, state: FineTuningState) -> None:
        """Keep a checkpoint."""
        self._keep_together(len(state.losses), lambda folder: self._write(state, folder))

    def stepped(self, step: int, loss: float) -> None:
        """One more optimizer step is done."""
        self._context.measurements.fine_tuned(loss)
        self._context.reporter.progress(step, self._total, "steps")

    def resume(self) -> FineTuningState | None:
        """State to go on from; None: there is no checkpoint of these token ids. All ranks call it together."""
        self._set_aside_others()
        files = self._newest()
        return FineTuningState.read(files["state.safetensors"].parent) if files else None

    def _write(self, state: FineTuningState, folder: Path) -> Mapping[str, Path]:
        mark = folder / self._learnt
        mark.write_text("", encoding="ascii")
        return state.write(folder) | {mark.name: mark}

    def _set_aside_others(self) -> None:
        """Forget checkpoints that have learnt other token ids, of another template or as an earlier version made them."""
        found = self._context.checkpoints.newest_files()
        if ranks.anywhere(bool(found) and found != {*FILES, self._learnt}, self._device) and self._context.rank == 0:
            why = "another template or an earlier version made what it has learnt; the fine-tuning starts again"
            self._context.reporter.event("checkpoint-set-aside", why=why)
            self._context.checkpoints.delete_all()
        ranks.meet(self._device)  # none looks for a checkpoint before that


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
