"""What is wrong with a board that was drawn."""

import re
from collections.abc import Collection, Iterator

from boards.draw import Drawing, Panel

SHARE_AT_MOST = 150
"""Per cent at an axis of shares: a little may stand above 100, but not 10000."""


def faults(drawing: Drawing, empty: Collection[str] = ()) -> list[str]:
    """One sentence a fault; none: every panel was drawn, and every query of it brought a number.

    Args:
        drawing: Of `boards.draw.draw`.
        empty: Titles of the panels that can have no data at that moment; that they have some is a fault as well.
    """
    found = [f"the page says: {problem}" for problem in drawing.problems]
    for panel in drawing.panels:
        found += [f"{panel.title}: {fault}" for fault in (*panel.problems, *_silent(panel, panel.title in empty), *_axes(panel))]
    return found


def _silent(panel: Panel, expected: bool) -> Iterator[str]:
    silent = [letter for letter, series in panel.series.items() if not series]
    if bool(silent) != expected:
        yield f"queries {', '.join(silent)} brought nothing" if silent else "has data where none can be"
    elif not silent and not panel.axis and len(panel.text) < 2:
        yield "shows nothing but its title"


def _axes(panel: Panel) -> Iterator[str]:
    shares = [float(word.removesuffix("%")) for word in panel.axis if re.fullmatch(r"-?[\d.]+%", word)]
    if max(shares, default=0) > SHARE_AT_MOST:
        yield f"its axis goes to {max(shares):.0f} %"
    if panel.type == "trend" and shares and (odd := [word for word in panel.axis if not re.fullmatch(r"-?[\d.]+%|\d+|loop|", word)]):
        yield f"loops are no whole numbers: {odd}"
    if panel.type == "trend" and not any(word.isdigit() for word in panel.axis):
        yield "no loop is named at its axis"
