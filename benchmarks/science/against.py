"""One arm minus another in points of held-out accuracy, over the splits that both have: by groups of pairs, and by splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from benchmarks.science.rows import Result
from ser_core.counted import counted
from ser_core.learn.evaluation.groups.student import half_width
from ser_core.loop.deciding.significance import FEW_GROUPS
from ser_core.sweep.comparison import compare_arms
from ser_core.sweep.results import Difference, RunResult

FEWEST_SPLITS = 3
"""Of fewer no interval is worth its ink."""


@dataclass(frozen=True, slots=True)
class Against:
    """What `arm` is ahead of `baseline`."""

    difference: Difference
    by_split: Sequence[float]
    """Of each split the difference in held-out accuracy."""

    def by_groups(self) -> str:
        """Mean and 95 % interval in points, by the bootstrap over held-out groups: the chance of pairs; few groups are said."""
        low, mean, high = (100 * value for value in (self.difference.low, self.difference.mean, self.difference.high))
        few = f", {counted(self.difference.groups, 'group')}" if self.difference.groups < FEW_GROUPS else ""
        return f"{mean:+.1f} ({low:+.1f} to {high:+.1f}{few})"

    def by_splits(self) -> str:
        """The 95 % interval of Student's t over the splits, in points: the chance of trainings too; empty where there are too few."""
        count = len(self.by_split)
        if count < FEWEST_SPLITS:
            return ""
        mean, width = fmean(self.by_split), half_width(count - 1) * stdev(self.by_split) / count**0.5
        return f"{100 * (mean - width):+.1f} to {100 * (mean + width):+.1f}"


def against(results: Sequence[Result], arm: str, baseline: str) -> Against | None:
    """Compare; None where they have no split in common."""
    arms = {name: {one.seed: one for one in results if one.arm == name} for name in (arm, baseline)}
    splits = sorted(arms[arm].keys() & arms[baseline].keys())
    if not splits:
        return None
    row = next(one for one in compare_arms([_run(arms[name][seed]) for name in arms for seed in splits], baseline) if one.arm == arm)
    assert row.difference is not None
    return Against(row.difference, [arms[arm][seed].accuracy - arms[baseline][seed].accuracy for seed in splits])


def _run(result: Result) -> RunResult:
    """Pairs and groups have the same names in each split, so that those which several splits hold out count once."""
    pairs = [(f"{name}/{number}", name) for name, size in zip(result.names, result.groups, strict=True) for number in range(size)]
    right = {pair: letter == "1" for (pair, _), letter in zip(pairs, result.right, strict=True)}
    return RunResult(result.arm, result.arm, result.seed, right, result.log_loss, dict(pairs))
