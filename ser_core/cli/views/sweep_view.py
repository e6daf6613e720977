"""How `ser sweep` shows its table."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ser_core.cli.views.status_view import plain_table
from ser_core.loop.deciding.significance import shown_p
from ser_core.sweep.results import ArmResult
from ser_core.sweep.words import note


def sweep_view(rows: Sequence[ArmResult], baseline: str, missing: Sequence[str]) -> RenderableType:
    """The arms by number, then a row for each, bold where it differs from the baseline by more than chance.

    A second table says what self-labels have added to the seed models. Both fit 80 columns.
    """
    arms = [Text.assemble((f"{number:>3}", "bold"), f"  {row.arm}") for number, row in enumerate(rows, 1)]
    compared = len(rows) > 1
    table = plain_table("arm", "runs", "held-out", "sd", "log loss", *(("− base", "95 % interval", "p") if compared else ()))
    for number, row in enumerate(rows, 1):
        one = row.difference
        table.add_row(
            f"{number:>3}",
            str(row.runs),
            f"{row.accuracy:.3f}",
            "" if row.deviation is None else f"{row.deviation:.3f}",
            f"{row.log_loss:.3f}",
            *(() if one is None else (f"{one.mean:+.3f}", f"{one.low:+.3f} to {one.high:+.3f}", shown_p(one.p_holm))),
            style="bold" if one is not None and one.significant else None,
        )
    return Group(*arms, Text(), table, *_over_seed(rows), Text(f"\n{note(rows, baseline, missing)}", style="dim"))


def _over_seed(rows: Sequence[ArmResult]) -> Iterator[RenderableType]:
    if all(row.over_seed is None for row in rows):
        return
    table = plain_table("arm", "seed model", "− seed", "95 % interval", "p")
    for number, row in enumerate(rows, 1):
        one = row.over_seed
        if one is not None:
            spread = f"{one.low:+.3f} to {one.high:+.3f}"
            cells = (f"{number:>3}", f"{row.seed_accuracy:.3f}", f"{one.mean:+.3f}", spread, shown_p(one.p_value))
            table.add_row(*cells, style="bold" if one.significant else None)
    yield Text()
    yield table


def as_data(rows: Sequence[ArmResult], baseline: str, missing: Sequence[str]) -> dict[str, Any]:
    """The table for machines."""
    return {"baseline": baseline, "arms": [_arm(row) for row in rows], "missing": list(missing)}


def _arm(row: ArmResult) -> dict[str, Any]:
    one, over = row.difference, row.over_seed
    return {
        "arm": row.arm,
        "runs": row.runs,
        "accuracy": row.accuracy,
        "deviation": row.deviation,
        "logLoss": row.log_loss,
        "trusted": row.trusted,
        "collapsed": row.collapsed,
        "difference": None
        if one is None
        else {
            "mean": one.mean,
            "low": one.low,
            "high": one.high,
            "pValue": one.p_value,
            "pHolm": one.p_holm,
            "repetitions": one.repetitions,
            "groups": one.groups,
        },
        "notCompared": row.why_apart or None,
        "seed": None
        if over is None
        else {
            "accuracy": row.seed_accuracy,
            "difference": over.mean,
            "low": over.low,
            "high": over.high,
            "pValue": over.p_value,
            "groups": over.groups,
        },
    }
