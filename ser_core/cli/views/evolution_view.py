"""The evolution of a run on a terminal: a table of the loops, and a curve of the accuracy with its interval."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ser_core.api.status import IterationStatus, LearningStatus, SERRunStatus
from ser_core.cli.views.accuracy_chart import LENGTH_RULE, Measured, accuracy_chart
from ser_core.cli.views.policy_line import policy_line
from ser_core.loop.deciding.coin import against
from ser_core.loop.deciding.stopping import cross_fitted, loop_name
from ser_core.loop.text import decimals
from ser_core.shown import shown_line

_COLUMNS = ("loop", "status", "pairs", "kept", "threshold", "agree", "dev", "gain", "held-out", "95 % interval", "T")
_LEFT_OUT_WHERE_NARROW = frozenset({"pairs", "threshold", "gain", "T"})
_HEADS = {"threshold": "thres-\nhold", "held-out": "held-\nout", "95 % interval": "95 %\ninterval"}
COLUMNS_NEEDED = 79
"""Of the terminal, for all of the table."""
_LEGEND = """\
{threshold}agree: share of kept self-labels that equal the human ones
{decides} (* best), held-out accuracy informs
length: the rule "the longer answer wins" · curve: held-out, 95 % interval"""


def evolution_view(status: SERRunStatus, length_rule: float | None, width: int, of_groups: Sequence[str] = ()) -> RenderableType:
    """Table and curve of a run.

    Args:
        status: The run's status.
        length_rule: Held-out accuracy of "the longer answer wins"; None: not known.
        width: Columns of the terminal.
        of_groups: What the intervals rest on, where it is not each held-out pair for itself.
    """
    if not status.iterations:
        return Text("no loop has been evaluated yet", style="dim")
    chart = accuracy_chart(list(_measured(status, length_rule)), width)
    policy = [] if status.policy is None else [Text(f"\npolicy  {policy_line(status.policy)}", no_wrap=True, overflow="ignore")]
    narrow = width < COLUMNS_NEEDED
    folds = cross_fitted(status.iterations)
    gain = " · gain: in log loss" if folds else ""
    legend = _LEGEND.format(
        threshold="" if narrow else f"threshold: lowest confidence kept · T: temperature{gain}\n",
        decides="dev: out of fold, its log loss decides" if folds else "dev accuracy decides",
    )
    told = [Text(f"best: {one}\n") for one in (doubts(status), cut_line(status)) if one]
    told += [Text(f"{one}\n") for one in (*repeated(status), *of_groups)]
    return Group(evolution_table(status, length_rule, narrow=narrow), Text(f"\n{legend}\n", style="dim"), *told, *chart, *policy)


def doubts(status: SERRunStatus) -> str:
    """What speaks against the best reward model; empty: nothing."""
    best = status.best
    told = "" if best is None else against(best.accuracy, best.accuracy_low, best.accuracy_high, collapsed=best.collapsed)
    return f"it {told}" if told else ""


def repeated(status: SERRunStatus) -> Sequence[str]:
    """Which loops had trainings that collapsed and were repeated, in a line; none where none had."""
    loops = [f"{row.repeated} of {loop_name(row)}" for row in status.iterations if row.repeated]
    return [f"trainings that collapsed and were repeated: {', '.join(loops)}"] if loops else []


def cut_line(status: SERRunStatus) -> str:
    """Which share of its training pairs the best reward model could not read whole; empty when it read them all."""
    share = status.reward_model.cut_fraction if status.reward_model else None
    return f"{share:.1%} of its training pairs were cut to rewardModel.maxLength" if share else ""


def taken_over_view(stages: Mapping[str, str]) -> RenderableType:
    """Under the evolution: which stages were taken over from the run that `spec.from` names, and why others were not."""
    return Group(Text("\nspec.from", style="bold"), *(Text(shown_line(f"{name}: {told}")) for name, told in stages.items()))


def _measured(status: SERRunStatus, length_rule: float | None) -> Iterator[Measured]:
    for row in status.iterations:
        if row.accuracy is not None:
            name = str(row.iteration) if row.iteration else "seed"
            yield Measured(name, row.accuracy, row.accuracy_low, row.accuracy_high, best=row.iteration == status.best_iteration)
    for control in status.controls:
        yield Measured(control.control, control.accuracy, control.accuracy_low, control.accuracy_high, baseline=True)
    if length_rule is not None:
        yield Measured(LENGTH_RULE, length_rule, None, None, baseline=True)


def evolution_table(status: SERRunStatus, length_rule: float | None = None, *, narrow: bool = False) -> Table:
    """The evolution, one row a loop, under it the controls and the length rule, all on the same held-out pairs. Fits 80 columns.

    Args:
        status: The run's status; nothing else is needed, so that a live display can redraw it.
        length_rule: Held-out accuracy of "the longer answer wins"; None leaves the row out.
        narrow: Leave out the less important columns, to fit 60 columns.
    """
    shown = [not narrow or name not in _LEFT_OUT_WHERE_NARROW for name in _COLUMNS]
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in compress(_COLUMNS, shown):
        table.add_column(_HEADS.get(name, name), justify="left" if name == "loop" else "right", no_wrap=True, vertical="bottom")
    for row in status.iterations:
        best = row.iteration == status.best_iteration
        table.add_row(*compress(_cells(row, best), shown), style="bold" if best else None)
    baselines = [(control.control, control.accuracy, interval(control.accuracy_low, control.accuracy_high)) for control in status.controls]
    if length_rule is not None:
        baselines.append((LENGTH_RULE, length_rule, ""))
    if baselines:
        table.add_section()
    for name, accuracy, spread in baselines:
        table.add_row(*compress((name.replace("Label", "\nLabel"), *[""] * 7, f"{accuracy:.3f}", spread, ""), shown))
    return table


def _cells(row: IterationStatus, best: bool) -> tuple[str, ...]:
    loop = row.learning_status is not LearningStatus.SEED
    name = str(row.iteration) if loop else "seed"
    gain = row.gain if row.folds is None else row.loss_gain
    return (
        f"{name}{' *' if best else ''}",
        _status(row.learning_status) if loop else "",
        str(row.labeled) if loop else "",
        str(row.kept) if loop else "",
        _number(row.threshold),
        _number(row.agreement),
        _number(row.dev_accuracy),
        "" if gain is None else f"{gain:+.3f}",
        _number(row.accuracy),
        interval(row.accuracy_low, row.accuracy_high),
        "" if row.temperature is None else decimals(row.temperature),
    )


def _status(learning: LearningStatus) -> str:
    return "–" if learning is LearningStatus.NEITHER else learning.value.removeprefix("Status")


def interval(low: float | None, high: float | None) -> str:
    """A 95 % interval in three digits; empty when unknown."""
    return "" if low is None or high is None else f"{low:.3f}–{high:.3f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
