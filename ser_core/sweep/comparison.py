"""Arms beside each other: means over their repetitions, and paired differences with what chance could have made of them. Numpy alone.

The unit of chance is the group of pairs (`data.source.splitBy`), since pairs that share a prompt or a topic are right or wrong together
(`ser_core.learn.evaluation.groups`); repetitions are averaged pair by pair before. Several arms against one baseline are corrected by
Holm's method (1979).
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from ser_core.learn.evaluation.groups.bootstrap import paired_difference
from ser_core.learn.evaluation.groups.comparable import joined_groups, why_incomparable
from ser_core.learn.evaluation.groups.difference import PairedDifference
from ser_core.sweep.results import ArmResult, Difference, RunResult

_NO_BASELINE = "the baseline has no finished run yet; ser why tells why, and --against names another baseline"
_ONE_HELDOUT = "to compare them, give all arms one data.heldout, with data.seed and data.unlabeled in place of data.source"


def compare_arms(results: Sequence[RunResult], baseline: str) -> tuple[ArmResult, ...]:
    """The arms in their order of appearance; those with no finished run have no row."""
    arms = {one.arm: [other for other in results if other.arm == one.arm] for one in results}
    common = {arm: _in_common(runs, arms.get(baseline, ())) for arm, runs in arms.items() if arm != baseline}
    apart = {arm: _why_apart(both) if baseline in arms else _NO_BASELINE for arm, both in common.items()}
    corrected = dict(_holm({arm: _difference(both) for arm, both in common.items() if not apart[arm]}))
    return tuple(_row(arm, runs, corrected.get(arm), apart.get(arm, "")) for arm, runs in arms.items())


def _row(arm: str, runs: Sequence[RunResult], difference: Difference | None, why_apart: str) -> ArmResult:
    accuracies = [run.accuracy for run in runs]
    deviation = stdev(accuracies) if len(runs) > 1 else None
    trusted = any(run.trusted for run in runs)
    log_loss = fmean(run.log_loss for run in runs)
    collapsed = sum(run.collapsed for run in runs)
    seed, over_seed = _over_seed(runs)
    return ArmResult(arm, len(runs), fmean(accuracies), deviation, trusted, log_loss, difference, collapsed, seed, over_seed, why_apart)


def _over_seed(runs: Sequence[RunResult]) -> tuple[float, PairedDifference] | tuple[None, None]:
    """Accuracy of the seed models, and how much more the best reward models are right."""
    known = [(run.right, run.seed_right) for run in runs if run.seed_right is not None]
    if len(known) < len(runs):
        return None, None
    return fmean(fmean(seed.values()) for _, seed in known), paired_difference(_by_group(known, [run.groups for run in runs]))


def _in_common(runs: Sequence[RunResult], baseline: Sequence[RunResult]) -> list[tuple[RunResult, RunResult]]:
    theirs = {run.repetition: run for run in baseline}
    return [(run, theirs[run.repetition]) for run in runs if run.repetition in theirs]


def _why_apart(common: Sequence[tuple[RunResult, RunResult]]) -> str:
    if not common:
        return "no repetition is in common with the baseline; ser why tells why the missing runs have not ended well"
    each = (why_incomparable(own.right.keys(), other.right.keys(), own.answers, other.answers) for own, other in common)
    why = next(filter(None, each), "")
    return f"these are {why}; {_ONE_HELDOUT}" if why else ""


def _difference(common: Sequence[tuple[RunResult, RunResult]]) -> Difference:
    table = _by_group([(own.right, other.right) for own, other in common], [run.groups for both in common for run in both])
    found = paired_difference(table)
    return Difference(found.mean, found.low, found.high, found.p_value, found.p_value, len(common), found.groups)


def _by_group(
    compared: Sequence[tuple[Mapping[str, bool], Mapping[str, bool]]], groupings: Sequence[Mapping[str, str]]
) -> NDArray[np.float64]:
    """(groups, 2): of each group, the pairs that the runs have right minus those that what each is compared with has, and the
    pairs that both have.
    """
    groups = joined_groups({pair for own, _ in compared for pair in own}, groupings)
    sums: dict[str, list[float]] = {}
    for own, other in compared:
        for pair in own.keys() & other.keys():
            group = sums.setdefault(groups[pair], [0.0, 0.0])
            group[0] += own[pair] - other[pair]
            group[1] += 1
    return np.array([sums[key] for key in sorted(sums)])


def _holm(differences: Mapping[str, Difference]) -> Iterator[tuple[str, Difference]]:
    corrected = 0.0
    for rank, arm in enumerate(sorted(differences, key=lambda arm: differences[arm].p_value)):
        one = differences[arm]
        corrected = max(corrected, min(1.0, (len(differences) - rank) * one.p_value))
        yield arm, Difference(one.mean, one.low, one.high, one.p_value, corrected, one.repetitions, one.groups)
