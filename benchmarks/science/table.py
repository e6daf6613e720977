"""The tables of docs/results.md, from the committed results."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median

from benchmarks.science.against import Against, against
from benchmarks.science.cells import RULES, SEEDS, cells
from benchmarks.science.rows import Result
from benchmarks.science.sets import SETS
from benchmarks.science.steps import AS_IT_IS, STEPS
from ser_core.counted import counted

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
SUMMARY = (
    *(("calibrated", arm) for arm in ("seed", "paper", "reference", "before", "full")),
    ("loopOne", "random"),
    ("loopOne", "pseudoLabelOnce"),
)
"""What the promise and the question of choosing compare."""
COLUMNS = (
    *("arm", "splits", "held-out accuracy", "log loss", "kept", "right", "longer answer", "elsewhere"),
    *("calibrated minus it", "the same by splits"),
)
STEP_COLUMNS = (
    *("what differs", "splits", "held-out accuracy", "log loss", "kept", "right"),
    *("it minus the rule's choice", "the same by splits"),
)
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
        for arm in ORDER:
            difference = None if arm == "calibrated" else against(found, "calibrated", arm)
            yield _line(arm, [one for one in found if one.arm == arm], difference)
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
    """Who is ahead of whom, set by set."""
    heads = [f"{data_set}, {budget:.0%}" for data_set, budget in measured]
    yield "Points of held-out accuracy over the splits that both arms have, with 95 % intervals by held-out groups:\n"
    yield f"| | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|"
    for arm, other in SUMMARY:
        differences = [against(found, arm, other) for found in measured.values()]
        told = [f"{one.by_groups()}, {counted(len(one.by_split), 'split')}" if one else "" for one in differences]
        yield f"| {arm} minus {other} | {' | '.join(told)} |"
    yield ""


def _line(arm: str, results: Sequence[Result], difference: Against | None) -> str:
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
        *((difference.by_groups(), difference.by_splits()) if difference else ("", "")),
    )
    return f"| {' | '.join(cells)} |"


def _bands(results: Sequence[Result]) -> Iterator[str]:
    """Share of right self-labels of calibrated by loop and band of confidence, mean over the splits."""
    if not results:
        return
    splits = counted(len(results), "split")
    yield f"\nSelf-labels of calibrated that are right, by fifths of the pool, the surest last ({splits}):\n"
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
    """What each single step of the first loop is worth. They are planned for documentation pairs alone."""
    if not any(one.arm == AS_IT_IS for one in results):
        return
    yield "\nSingle steps of the first loop:\n"
    yield f"| {' | '.join(STEP_COLUMNS)} |\n{'|---' * len(STEP_COLUMNS)}|"
    for arm, differs in STEPS.items():
        found = [one for one in results if one.arm == arm]
        if not found:
            if SETS[results[0].data_set].documentation:
                yield f"| {differs} | 0 |{' |' * (len(STEP_COLUMNS) - 2)}"
            continue
        kept = f"{fmean(one.kept[0] for one in found):.0f}"
        shares = [one.agreement[0] for one in found if one.agreement[0] is not None]
        right = f"{fmean(shares):.3f}" if shares else ""
        gain = None if arm == AS_IT_IS else against(results, arm, AS_IT_IS)
        gained = (gain.by_groups(), gain.by_splits()) if gain else ("", "")
        cells = (differs, str(len(found)), f"{fmean(one.accuracy for one in found):.3f}", f"{fmean(one.log_loss for one in found):.3f}")
        yield f"| {' | '.join((*cells, kept, right, *gained))} |"


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
