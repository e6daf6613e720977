"""Accuracies with their intervals as lines of text, one below the other on one axis, so that overlap can be seen."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.text import Text

LENGTH_RULE = "length"
MAX_CELLS = 60
_NAME_CELLS, _VALUE_CELLS = 17, 7
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the chart."""

    name: str
    accuracy: float
    low: float | None
    """Ends of the 95 % interval; None: not known."""
    high: float | None
    best: bool = False
    baseline: bool = False


def accuracy_chart(rows: Sequence[Measured], width: int) -> Iterator[Text]:
    """One line for each row, and the axis below; nothing without rows. What is no accuracy is drawn as the nearest one.

    Args:
        rows: From top to bottom.
        width: Columns that it may take.
    """
    if not rows:
        return
    cells = max(20, min(MAX_CELLS, width - _NAME_CELLS - _VALUE_CELLS))
    rows = [_drawable(row) for row in rows]
    low, high, step = _axis(rows, cells)

    def place(value: float) -> int:
        return round((value - low) / (high - low) * (cells - 1))

    labels, marks = [" "] * (cells + 4), ["─"] * cells
    for number in range(round((high - low) / step) + 1):
        value = low + number * step
        marks[place(value)] = "┬"
        labels[place(value) : place(value) + 4] = f"{value:.2f}"
    for row in rows:
        line = [" "] * cells
        if row.low is not None and row.high is not None:
            line[place(row.low) : place(row.high) + 1] = ["─"] * (place(row.high) - place(row.low) + 1)
            line[place(row.low)], line[place(row.high)] = "├", "┤"
        line[place(row.accuracy)] = "●" if not row.baseline else "○"
        style = "bold green" if row.best else "dim" if row.baseline else ""
        name = f"{row.name} *" if row.best else row.name
        yield Text.assemble(f"{name:<{_NAME_CELLS}}", ("".join(line), style), f" {row.accuracy:.3f}")
    yield Text(" " * _NAME_CELLS + "".join(marks), style="dim")
    yield Text(f"{'held-out':<{_NAME_CELLS - 2}}{''.join(labels).rstrip()}", style="dim")


def _drawable(row: Measured) -> Measured:
    accuracy = _clipped(row.accuracy)
    low = None if row.low is None else min(accuracy, _clipped(row.low))
    high = None if row.high is None else max(accuracy, _clipped(row.high))
    return replace(row, accuracy=accuracy, low=low, high=high)


def _clipped(accuracy: float) -> float:
    return min(1.0, max(0.0, accuracy))


def _axis(rows: Sequence[Measured], cells: int) -> tuple[float, float, float]:
    """Lower end, upper end and step of an axis that holds all rows, its labels not too close."""
    low = min(row.accuracy if row.low is None else row.low for row in rows)
    high = max(row.accuracy if row.high is None else row.high for row in rows)
    step = next((step for step in _STEPS if (high - low) / step * 8 <= cells), _STEPS[-1])
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, max(last, first + 1) * step, step
