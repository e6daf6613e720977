"""What `ser diff` shows: the sections of a comparison of two runs, and the same as data."""

import json
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ser_core.api.model import Model
from ser_core.api.serrun import SERRun
from ser_core.api.stage import PrepareMetrics
from ser_core.api.status import IterationStatus, PolicyStatus
from ser_core.cli.access.comparison import BEST, LoopPair, RunsCompared, SpecDifference
from ser_core.cli.views.status_view import plain_table
from ser_core.loop.deciding.significance import shown_p


def diff_view(compared: RunsCompared) -> RenderableType:
    """The sections of a comparison. Fits 80 columns, unless values of the spec are longer."""
    sections: list[RenderableType] = []
    for letter, run in (("a", compared.a), ("b", compared.b)):
        head = f"  {run.metadata.namespace}/{run.metadata.name}, {run.status.phase.value}, {run.spec.loop.rule.value}"
        sections.append(Text.assemble((letter, "bold"), head))
    sections += [Text("\nSpec", style="bold"), _spec_table(compared.differences)]
    if any(compared.budgets):
        sections += [Text("\nLabel budget", style="bold"), _budget_table(compared)]
    if compared.loops:
        sections += [Text("\nLoops", style="bold"), _loop_table(compared.loops)]
    policies = (compared.a.status.policy, compared.b.status.policy)
    if any(policies):
        sections += [Text("\nPolicy", style="bold"), _policy_table(policies)]
    return Group(*sections, Text(f"\n{compared.note}", style="dim"))


def diff_data(compared: RunsCompared) -> dict[str, Any]:
    """The comparison as JSON and YAML have it."""
    return {
        "runs": [f"{run.metadata.namespace}/{run.metadata.name}" for run in (compared.a, compared.b)],
        "spec": [{"field": one.field, "a": one.a, "b": one.b} for one in compared.differences],
        "labelBudget": [_dumped(made) for made in compared.budgets],
        "loops": [{"name": loop.name, "a": _dumped(loop.a), "b": _dumped(loop.b), **_tested(loop)} for loop in compared.loops],
        "note": compared.note,
    }


def _spec_table(differences: tuple[SpecDifference, ...]) -> RenderableType:
    if not differences:
        return Text("the specs are equal")
    table = plain_table("field", "a", "b")
    for column in table.columns[1:]:
        column.no_wrap = False
    for one in differences:
        table.add_row(one.field, Text(_shown(one.a)), Text(_shown(one.b)))
    return table


def _shown(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _budget_table(compared: RunsCompared) -> Table:
    table = plain_table("", "a", "b")
    columns = zip(*map(_budget, (compared.a, compared.b), compared.budgets), strict=True)
    for name, cells in zip(("labels that decide", "pool without labels", "held-out, to report"), columns, strict=True):
        table.add_row(name, *cells)
    return table


def _budget(run: SERRun, made: PrepareMetrics | None) -> tuple[str, str, str]:
    if made is None:
        return "–", "–", "–"
    parts = f"seed {made.seed:,}, dev {made.dev:,}" if run.spec.loop.fold_count is None else "the whole seed"
    return f"{made.seed + made.dev:,} ({parts})", f"{made.pool:,}", f"{made.heldout:,}"


def _loop_table(loops: tuple[LoopPair, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("loop", vertical="bottom", no_wrap=True)
    for name in ("kept", "agree", "dev", "held-out"):
        for letter in ("a", "b"):
            table.add_column(f"{name}\n{letter}", justify="right", no_wrap=True)
    table.add_column("\nb − a", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True, vertical="bottom")
    for loop in loops:
        if loop.name == BEST:
            table.add_section()
        significant = loop.difference is not None and loop.difference.significant
        table.add_row(loop.name, *_cells(loop), style="bold" if significant else None)
    return table


def _policy_table(policies: tuple[PolicyStatus | None, PolicyStatus | None]) -> Table:
    table = plain_table("", "a", "b")
    names = ("score before PPO", "score after PPO", "KL (nats)", "PPO steps", "stopped by")
    for name, *cells in zip(names, *map(_policy, policies), strict=True):
        table.add_row(name, *cells)
    return table


def _policy(policy: PolicyStatus | None) -> tuple[str, ...]:
    if policy is None:
        return ("–",) * 5
    return f"{policy.baseline_score:.3f}", f"{policy.score:.3f}", f"{policy.kl:.3g}", f"{policy.steps:,}", policy.stopped


def _cells(loop: LoopPair) -> Iterator[str]:
    sides = (loop.a, loop.b)
    yield from (str(row.kept) if row is not None and row.iteration else "" for row in sides)
    for name in ("agreement", "dev_accuracy", "accuracy"):
        yield from (_number(getattr(row, name, None)) for row in sides)
    change = _change(loop.a, loop.b)
    yield "" if change is None else f"{change:+.3f}"
    yield "" if loop.difference is None else shown_p(loop.difference.p_value)


def _change(a: IterationStatus | None, b: IterationStatus | None) -> float | None:
    return None if a is None or b is None or a.accuracy is None or b.accuracy is None else b.accuracy - a.accuracy


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _tested(loop: LoopPair) -> dict[str, float | int | None]:
    """b − a in held-out accuracy, with its 95 % interval and p over so many groups of pairs."""
    names = {"difference": "mean", "low": "low", "high": "high", "pValue": "p_value", "groups": "groups"}
    return {name: getattr(loop.difference, field, None) for name, field in names.items()}


def _dumped(model: Model | None) -> Any:
    return None if model is None else model.model_dump(mode="json", by_alias=True)
