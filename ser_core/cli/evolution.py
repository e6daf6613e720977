"""`ser evolution`: what each loop brought, as a table and a sparkline."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ser_core.api.status import IterationStatus, LearningStatus, SERRunStatus
from ser_core.cli.output import print_json, standard_output
from ser_core.cli.stored_run import AsJson, RunFile, open_run

BARS = "▁▂▃▄▅▆▇█"
LENGTH_RULE = "length"
_COLUMNS = ("loop", "status", "pairs", "kept", "above", "agree", "dev", "gain", "held-out", "95 % interval", "T")
_LEGEND = """\
above: lowest confidence kept · agree: share of kept self-labels that are right
dev accuracy decides (* best), held-out accuracy informs · T: temperature
length: the rule "the longer answer wins\""""


def evolution(file: RunFile, as_json: AsJson = False) -> None:
    """Show what each loop brought.

    Labels, kept pairs, accuracy with its 95 % interval, and the controls beside.
    """
    from ser_core.report.ledger import read_ledger

    stored = open_run(file)
    status, length_rule = stored.run.status, read_ledger(stored.store, stored.run).length_rule
    if as_json:
        parts = status.model_dump(mode="json", by_alias=True, include={"phase", "best_iteration", "iterations", "controls"})
        print_json({"name": stored.run.metadata.name, **parts, "lengthOnlyAccuracy": length_rule})
    else:
        standard_output().print(evolution_view(status, length_rule))


def evolution_view(status: SERRunStatus, length_rule: float | None) -> RenderableType:
    """Table and sparkline of a run.

    Args:
        status: The run's status.
        length_rule: Held-out accuracy of "the longer answer wins"; None: not measured yet.
    """
    if not status.iterations:
        return Text("no loop has been evaluated yet", style="dim")
    return Group(evolution_table(status, length_rule), Text(f"\n{_LEGEND}\n", style="dim"), *_sparklines(status, length_rule))


def evolution_table(status: SERRunStatus, length_rule: float | None = None) -> Table:
    """The evolution, one row a loop, under it the controls and the length rule, all on the same held-out pairs. Fits 80 columns.

    Args:
        status: The run's status; nothing else is needed, so that a live display can redraw it.
        length_rule: Held-out accuracy of "the longer answer wins"; None leaves the row out.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in _COLUMNS:
        table.add_column(name.replace("95 % ", "95 %\n"), justify="left" if name == "loop" else "right", no_wrap=True, vertical="bottom")
    for row in status.iterations:
        best = row.iteration == status.best_iteration
        table.add_row(*_cells(row, best), style="bold" if best else None)
    yardsticks = [(control.control, control.accuracy, interval(control.accuracy_low, control.accuracy_high)) for control in status.controls]
    if length_rule is not None:
        yardsticks.append((LENGTH_RULE, length_rule, ""))
    if yardsticks:
        table.add_section()
    for name, accuracy, spread in yardsticks:
        table.add_row(name.replace("Once", "\nOnce"), *[""] * 7, f"{accuracy:.3f}", spread, "")
    return table


def _cells(row: IterationStatus, best: bool) -> tuple[str, ...]:
    loop = row.learning_status is not LearningStatus.SEED
    name = str(row.iteration) if loop else "seed"
    return (
        f"{name}{' *' if best else ''}",
        row.learning_status.value.removeprefix("Status") if loop else "",
        str(row.labeled) if loop else "",
        str(row.kept) if loop else "",
        _number(row.threshold),
        _number(row.agreement),
        _number(row.dev_accuracy),
        "" if row.gain is None else f"{row.gain:+.3f}",
        _number(row.accuracy),
        interval(row.accuracy_low, row.accuracy_high),
        "" if row.temperature is None else f"{row.temperature:.2f}",
    )


def interval(low: float | None, high: float | None) -> str:
    """A 95 % interval in three digits; empty when unknown."""
    return "" if low is None or high is None else f"{low:.3f}–{high:.3f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _sparklines(status: SERRunStatus, length_rule: float | None) -> Iterator[Text]:
    """Held-out accuracy loop by loop, and one bar for each yardstick on the same scale."""
    climb = [row.accuracy for row in status.iterations if row.accuracy is not None]
    if not climb:
        return
    others = {control.control: control.accuracy for control in status.controls}
    if length_rule is not None:
        others[LENGTH_RULE] = length_rule
    low, high = min(climb + list(others.values())), max(climb + list(others.values()))
    yield Text.assemble(f"{'held-out':<16}", (sparkline(climb, low, high), "green"), f"  {climb[0]:.3f} → {climb[-1]:.3f}")
    for name, accuracy in others.items():
        yield Text(f"{name:<16}{sparkline([accuracy], low, high):<{len(climb)}}  {accuracy:.3f}", style="dim")


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """One bar a value, lowest at ``low`` and highest at ``high``."""
    span = high - low
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] for value in values)
