"""`ser status`: where a run stands, in sections."""

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ser_core.api.serrun import SERRun
from ser_core.api.status import Outcome, Phase, SERRunStatus, StageStatus
from ser_core.cli.evolution import interval
from ser_core.cli.output import standard_output
from ser_core.cli.stored_run import AsJson, RunFile, open_run

PHASE_STYLES = {Phase.COMPLETED: "bold green", Phase.FAILED: "bold red", Phase.SUSPENDED: "yellow", Phase.BUDGET_EXCEEDED: "yellow"}


def status(file: RunFile, as_json: AsJson = False) -> None:
    """Show where a run stands.

    Phase, stage, best reward model, conditions and failures; --json prints the whole SERRun.
    """
    run = open_run(file).run
    if as_json:
        print(run.model_dump_json(by_alias=True, indent=2))
    else:
        standard_output().print(status_view(run), crop=False)


def status_view(run: SERRun) -> RenderableType:
    """The sections of a run's status. Facts stay on one line each, so that a URI can be copied."""
    sections: list[RenderableType] = [Text(f"SERRun {run.metadata.namespace}/{run.metadata.name}", style="bold")]
    sections += [Text.assemble((f"{name:<19}", "dim"), value, no_wrap=True, overflow="ignore") for name, value in _facts(run)]
    if run.status.conditions:
        sections += [Text("\nConditions", style="bold"), _conditions(run.status)]
    failures = [stage for stage in run.status.stages if stage.outcome in (Outcome.FAILED, Outcome.INTERRUPTED, Outcome.LOST)]
    if failures:
        sections += [Text("\nAttempts that did not finish (the last ones)", style="bold"), _failures(failures)]
    return Group(*sections)


def _facts(run: SERRun) -> Iterable[tuple[str, Text]]:
    status, loop = run.status, run.spec.loop
    yield "phase", Text(status.phase.value, style=PHASE_STYLES.get(status.phase, ""))
    if status.message:
        yield "message", Text(status.message)
    live = next((stage for stage in status.stages if stage.outcome is Outcome.RUNNING), None)
    if live is not None:
        yield "stage", Text(f"{live.stage.value} of iteration {live.iteration}, attempt {live.attempt}, since {live.started_at}")
    yield "iteration", Text(f"{status.iteration} of at most {loop.max_iterations}, rule {loop.rule.value}")
    if status.learning_status is not None:
        yield "learning status", Text(status.learning_status.value)
    yield from _best(status)
    if status.started_at:
        yield "time", Text(f"{status.started_at} to {status.finished_at or 'now'}")
    if status.gpu_hours:
        yield "GPU hours", Text(f"{status.gpu_hours:.2f}")
    yield "store", Text(f"{run.spec.storage.uri}, UID {run.metadata.uid}")


def _best(status: SERRunStatus) -> Iterable[tuple[str, Text]]:
    row = next((row for row in status.iterations if row.iteration == status.best_iteration), None)
    if row is None or status.reward_model is None:
        return
    name = "the seed model" if row.iteration == 0 else f"loop {row.iteration}"
    spread = interval(row.accuracy_low, row.accuracy_high)
    yield "best reward model", Text(f"{name}: held-out accuracy {status.reward_model.accuracy:.3f} (95 % interval {spread})")
    yield "", Text(status.reward_model.uri)


def _conditions(status: SERRunStatus) -> Table:
    table = _plain_table("type", "status", "reason", "since", "message")
    for condition in status.conditions:
        style = "" if condition.status == "True" else "dim"
        message = "" if condition.message == status.message else condition.message
        cells = (condition.type, condition.status, condition.reason, condition.last_transition_time)
        table.add_row(*cells, Text(message), style=style)
    return table


def _failures(stages: Iterable[StageStatus]) -> Table:
    table = _plain_table("stage", "iteration", "attempt", "outcome", "exit", "reason", "message")
    for stage in stages:
        code = "" if stage.exit_code is None else str(stage.exit_code)
        names = (stage.stage.value, str(stage.iteration), str(stage.attempt), stage.outcome.value, code, stage.reason)
        table.add_row(*names, Text(stage.message))
    return table


def _plain_table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name != "message")
    return table
