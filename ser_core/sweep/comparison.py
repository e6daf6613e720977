"""Arms beside each other: means over their repetitions, and paired differences with what chance could have made of them. Numpy alone.

The unit of chance is the group of pairs (`data.source.splitBy`), since pairs that share a prompt or a topic are right or wrong together.
The interval is of the bootstrap (Efron, 1979), which draws groups, not pairs; repetitions are averaged pair by pair before. p is of a test
of its own: with 20 to 100 groups the share of bootstrap means below 0 is 2 to 5 times too small far out. Several arms against one baseline
are corrected by Holm's method (1979).
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from ser_core.errors import SpecError
from ser_core.sweep.randomization import randomization_test
from ser_core.sweep.results import RESAMPLES, ArmResult, Difference, RunResult

_AT_ONCE = 500


def compare_arms(results: Sequence[RunResult], baseline: str) -> tuple[ArmResult, ...]:
    """The arms in their order of appearance.

    Raises:
        SpecError: No finished run is in arm ``baseline``, though others are (reason `NoBaseline`).
    """
    arms = {one.arm: [other for other in results if other.arm == one.arm] for one in results}
    if arms and baseline not in arms:
        raise SpecError(
            f"no finished run of the baseline {baseline!r}",
            reason="NoBaseline",
            hint=f"there are: {'; '.join(arms)}; wait, or name another",
        )
    bare = {arm: _difference(runs, arms[baseline]) for arm, runs in arms.items() if arm != baseline}
    corrected = dict(_holm({arm: one for arm, one in bare.items() if one is not None}))
    return tuple(_row(arm, runs, corrected.get(arm)) for arm, runs in arms.items())


def _row(arm: str, runs: Sequence[RunResult], difference: Difference | None) -> ArmResult:
    accuracies = [run.accuracy for run in runs]
    deviation = stdev(accuracies) if len(runs) > 1 else None
    trusted = any(run.trusted for run in runs)
    return ArmResult(arm, len(runs), fmean(accuracies), deviation, trusted, fmean(run.log_loss for run in runs), difference)


def _difference(runs: Sequence[RunResult], baseline: Sequence[RunResult]) -> Difference | None:
    theirs = {run.repetition: run for run in baseline}
    common = [(run, theirs[run.repetition]) for run in runs if run.repetition in theirs]
    sums: dict[tuple[int, str], list[float]] = {}
    for own, other in common:
        for pair in own.right.keys() & other.right.keys():
            group = sums.setdefault((own.repetition[0], own.groups.get(pair, pair)), [0.0, 0.0])
            group[0] += own.right[pair] - other.right[pair]
            group[1] += 1
    if not sums:
        return None
    table = np.array([sums[key] for key in sorted(sums)])
    means = _resampled(table)
    low, high = np.quantile(means, [0.025, 0.975])
    p_value = randomization_test(table[:, 0])
    mean = float(table[:, 0].sum() / table[:, 1].sum())
    return Difference(mean, float(low), float(high), p_value, p_value, len(common), len(table))


def _resampled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean differences of `RESAMPLES` draws of groups with replacement; ``table`` has a row of sum and count for each group."""
    random = np.random.default_rng(0)
    number = len(table)
    drawn = [random.multinomial(number, np.full(number, 1 / number), size=_AT_ONCE) @ table for _ in range(RESAMPLES // _AT_ONCE)]
    totals = np.concatenate(drawn)
    return np.asarray(totals[:, 0] / totals[:, 1])


def _holm(differences: Mapping[str, Difference]) -> Iterator[tuple[str, Difference]]:
    corrected = 0.0
    for rank, arm in enumerate(sorted(differences, key=lambda arm: differences[arm].p_value)):
        one = differences[arm]
        corrected = max(corrected, min(1.0, (len(differences) - rank) * one.p_value))
        yield arm, Difference(one.mean, one.low, one.high, one.p_value, corrected, one.repetitions, one.groups)
