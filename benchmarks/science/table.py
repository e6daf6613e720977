"""The tables of docs/results.md, from the committed results."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median

from benchmarks.science.cells import RULES, SEEDS, cells
from benchmarks.science.rows import Result
from benchmarks.science.sets import SETS
from benchmarks.science.steps import AS_IT_IS, STEPS
from ser_core.counted import counted
from ser_core.sweep.comparison import compare_arms
from ser_core.sweep.results import ArmResult, RunResult

ORDER = (
    "seed",
    "seedOnly",
    "paper",
    "reference",
    "before",
    "pseudoLabelOnce",
    "random",
    "loopOne",
    "lowestLoss",
    "averaged",
    "calibrated",
    "oracle",
    "full",
)
SUMMARY = ("seed", "paper", "reference", "before", "random", "full")
COLUMNS = ("arm", "splits", "held-out accuracy", "log loss", "kept", "right", "longer answer", "elsewhere", "calibrated minus it")
STEP_COLUMNS = ("what differs", "splits", "held-out accuracy", "log loss", "kept", "right", "it minus the rule's choice")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def tables(results: Sequence[Result]) -> Iterator[str]:
    """One of all that was measured, and one for each set and budget."""
    measured: dict[tuple[str, float], list[Result]] = {}
    for one in results:
        measured.setdefault((one.data_set, one.budget), []).append(one)
    yield from _summary(measured)
    for (data_set, budget), found in measured.items():
        yield f"### {data_set}, {budget:.0%} of the labels\n"
        yield HEAD
        against = {arm: _against(found, arm, "calibrated") for arm in ORDER if arm != "calibrated"}
        for arm in ORDER:
            yield _line(arm, [one for one in found if one.arm == arm], against.get(arm))
        yield from _bands([one for one in found if one.arm == "calibrated" and one.bands])
        yield from _processor_time(found)
        yield from _steps(found)
        yield f"\n{_missing(found)}\n"
    planned = dict.fromkeys((cell.data_set, cell.budget) for cell in cells(SETS))
    absent = [
        f"{name} at {budget:.0%}" for name, budget in planned if not any((one.data_set, one.budget) == (name, budget) for one in results)
    ]
    yield f"Not measured yet: {', '.join(absent)}." if absent else "Every set was measured."


def _summary(measured: Mapping[tuple[str, float], Sequence[Result]]) -> Iterator[str]:
    """Calibrated against the arms that its promise names, set by set."""
    heads = [f"{data_set}, {budget:.0%}, {counted(_splits(found), 'split')}" for (data_set, budget), found in measured.items()]
    yield "Points of held-out accuracy over the splits that both arms have, with 95 % intervals:\n"
    yield f"| calibrated minus | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|"
    for arm in SUMMARY:
        yield f"| {arm} | {' | '.join(_against(found, arm, 'calibrated') or '' for found in measured.values())} |"
    yield ""


def _splits(results: Sequence[Result]) -> int:
    return len({one.seed for one in results if one.arm == "calibrated"})


def _line(arm: str, results: Sequence[Result], difference: str | None) -> str:
    if not results:
        return f"| {arm} | 0 |{' |' * (len(COLUMNS) - 2)}"
    mean = [sum(values) / len(results) for values in ([one.accuracy for one in results], [one.log_loss for one in results])]
    kept = [one.kept[0] for one in results if one.kept]
    right = [one.agreement[0] for one in results if one.agreement and one.agreement[0] is not None]
    elsewhere = [one.elsewhere for one in results if one.elsewhere is not None]
    cells = (
        *(arm, str(len(results)), f"{mean[0]:.3f}", f"{mean[1]:.3f}"),
        f"{sum(kept) / len(kept):.0f}" if kept else "",
        f"{sum(right) / len(right):.3f}" if right else "",
        f"{round(100 * sum(one.length_gap for one in results) / len(results), 1) + 0.0:+.1f}",  # no -0.0
        f"{sum(elsewhere) / len(elsewhere):.3f}" if elsewhere else "",
        difference or "",
    )
    return f"| {' | '.join(cells)} |"


def _bands(results: Sequence[Result]) -> Iterator[str]:
    """Share of right self-labels of calibrated by loop and band of confidence, mean over the splits."""
    if not results:
        return
    splits = counted(len(results), "split")
    yield f"\nSelf-labels of calibrated that equal the human ones, by fifths of the pool, the surest last ({splits}):\n"
    for loop in range(min(len(one.bands) for one in results)):
        of_bands = zip(*(one.bands[loop] for one in results), strict=True)
        shares = (fmean(share for share in shares if share is not None) for shares in of_bands)
        yield f"- loop {loop + 1}: {', '.join(f'{share:.3f}' for share in shares)}"


def _processor_time(results: Sequence[Result]) -> Iterator[str]:
    """Of whole runs; the median, since a run that was interrupted is measured from where it went on."""
    seconds = {rule: [one.processor_seconds for one in results if one.arm == rule and one.processor_seconds] for rule in RULES}
    told = [f"{rule} {median(found) / 60:.0f}" for rule, found in seconds.items() if found]
    if told:
        yield f"\nProcessor minutes of a run, the median, with the three controls of calibrated: {', '.join(told)}."


def _steps(results: Sequence[Result]) -> Iterator[str]:
    """What each single step of the first loop is worth."""
    if not any(one.arm == AS_IT_IS for one in results):
        return
    yield "\nSingle steps of the first loop:\n"
    yield f"| {' | '.join(STEP_COLUMNS)} |\n{'|---' * len(STEP_COLUMNS)}|"
    for arm, differs in STEPS.items():
        found = [one for one in results if one.arm == arm]
        if not found:
            yield f"| {differs} | 0 |{' |' * (len(STEP_COLUMNS) - 2)}"
            continue
        kept = f"{fmean(one.kept[0] for one in found):.0f}"
        shares = [one.agreement[0] for one in found if one.agreement[0] is not None]
        right = f"{fmean(shares):.3f}" if shares else ""
        gain = "" if arm == AS_IT_IS else _against(results, AS_IT_IS, arm) or ""
        cells = (differs, str(len(found)), f"{fmean(one.accuracy for one in found):.3f}", f"{fmean(one.log_loss for one in found):.3f}")
        yield f"| {' | '.join((*cells, kept, right, gain))} |"


def _against(results: Sequence[Result], baseline: str, arm: str) -> str | None:
    """An arm minus ``baseline`` in points, with the 95 % interval of the bootstrap over groups."""
    pair = [_run(one) for one in results if one.arm in (arm, baseline)]
    if {one.arm for one in pair} != {arm, baseline}:
        return None
    row: ArmResult = next(one for one in compare_arms(pair, baseline) if one.arm == arm)
    if row.difference is None:
        return None
    low, mean, high = (100 * value for value in (row.difference.low, row.difference.mean, row.difference.high))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _run(result: Result) -> RunResult:
    """Pairs and groups have the same names in each split, so that those which several splits hold out count once."""
    pairs = [(f"{name}/{number}", name) for name, size in zip(result.names, result.groups, strict=True) for number in range(size)]
    right = {pair: letter == "1" for (pair, _), letter in zip(pairs, result.right, strict=True)}
    return RunResult(result.arm, result.arm, result.seed, right, result.log_loss, dict(pairs))


def _missing(results: Sequence[Result]) -> str:
    there = {(one.arm, one.seed) for one in results}
    arms: dict[str, list[str]] = {}
    for arm in ORDER:
        splits = ", ".join(str(seed) for seed in SEEDS if (arm, seed) not in there)
        arms.setdefault(splits, []).append(arm)
    told = [
        f"split {splits} of {'every arm' if len(names) == len(ORDER) else ', '.join(names)}" for splits, names in arms.items() if splits
    ]
    return f"Missing: {'; '.join(told)}." if told else "No cell is missing."
