"""How far the stages of the policy are: what they show, and their checkpoints."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ser_core.learn.policy.alignment import Answer
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.state import PPOState
from ser_jobs.process.context import StageContext
from ser_jobs.stages.stage_watch import StageWatch

_BASELINE = "baseline.json"


class SupervisedProgress(StageWatch):
    """The `Watch` of a fine-tuning.

    Args:
        context: Where progress is shown and checkpoints are kept.
        total: Optimizer steps.
        device: Where models are computed.
    """

    def __init__(self, context: StageContext, total: int, device: str) -> None:
        super().__init__(context, device)
        self._total = total
        context.reporter.progress(0, total, "steps")

    def save(self, step: int, files: Mapping[str, Path]) -> None:
        """Keep a checkpoint."""
        self._keep(step, lambda _: files)

    def stepped(self, step: int, loss: float) -> None:
        """One more optimizer step is done."""
        self._context.measurements.fine_tuned(loss)
        self._context.reporter.progress(step, self._total, "steps")

    def resume(self) -> Path | None:
        """Folder of the newest checkpoint."""
        files = self._newest()
        return next(iter(files.values())).parent if files else None


class PolicyProgress(StageWatch):
    """The `Watch` of an alignment. A checkpoint holds its state and the answers of the policy before it.

    Args:
        context: Where progress is shown and checkpoints are kept.
        total: PPO steps.
        device: Where models are computed.
    """

    def __init__(self, context: StageContext, total: int, device: str) -> None:
        super().__init__(context, device)
        self._total = total
        self.state: PPOState | None = None
        """The state to go on from."""
        self.baseline: Sequence[Answer] = ()
        self._resume()
        context.reporter.progress(len(self.state.history) if self.state else 0, total, "steps")

    def save(self, state: PPOState) -> None:
        """Keep a checkpoint."""
        self._keep(len(state.history), lambda folder: self._write(state, folder))

    def stepped(self, metrics: StepMetrics) -> None:
        """One more PPO step is done."""
        self._context.measurements.aligned(metrics)
        self._context.reporter.progress(metrics.step, self._total, "steps")

    def _write(self, state: PPOState, folder: Path) -> Mapping[str, Path]:
        files = state.write(folder) | {_BASELINE: folder / _BASELINE}
        files[_BASELINE].write_text(json.dumps([asdict(answer) for answer in self.baseline]), encoding="utf-8")
        return files

    def _resume(self) -> None:
        files = self._newest()
        if files is None:
            return
        self.state = PPOState.read(files[_BASELINE].parent)
        self.baseline = [Answer(**answer) for answer in json.loads(files[_BASELINE].read_text(encoding="utf-8"))]
