"""What `ser status` shows: the sections of a run's status, as text of any width."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from ser_core.api.serrun import SERRun
from ser_core.api.status import Condition, Outcome, Phase, SERRunStatus, StageStatus
from ser_core.cli.views.evolution_view import cut_line, interval
from ser_core.cli.views.policy_line import policy_line
from ser_core.loop.deciding.stages import key_of, live_attempt
from ser_core.loop.text import decimals, lasting, read_time
from ser_core.shown import shown_line

PHASE_STYLES = {
    Phase.COMPLETED: "bold green",
    Phase.RUNNING: "bold",
    Phase.QUEUED: "bold yellow",
    Phase.WAITING: "bold yellow",
    Phase.FAILED: "bold red",
    Phase.SUSPENDED: "bold yellow",
    Phase.BUDGET_EXCEEDED: "bold yellow",
}
_OUTCOME_STYLES = {
    Outcome.RUNNING: "",
    Outcome.DONE: "dim",
    Outcome.FAILED: "red",
    Outcome.INTERRUPTED: "yellow",
    Outcome.LOST: "yellow",
}
BAR_CELLS = 20
NAME_CELLS = 14
SENTENCE_COLUMNS = 80
LAST_EVENTS = 10


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of a run beside the run itself: on a cluster pods and events, else who works on it."""

    pods: tuple[Mapping[str, Any], ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    runner: str = ""
    next_step: str = ""
    """What the user does about it; empty: nothing."""


def status_view(run: SERRun, now: datetime, details: Details = Details(), *, verbose: bool = False) -> RenderableType:
    """The sections of a run's status.

    Args:
        run: The run.
        now: For what goes on.
        details: What is known beside it.
        verbose: All conditions and attempts instead of those that matter.
    """
    status = run.status
    sections: list[RenderableType] = [Text(f"SERRun {run.metadata.namespace}/{run.metadata.name}", style="bold")]
    sections += [_line(name, value) for name, value in _facts(run, now, details)]
    conditions = [condition for condition in status.conditions if verbose or condition.status == "True"]
    if conditions:
        sections += [_title("Conditions"), _conditions(conditions, status)]
    if verbose and status.stages:
        sections += [_title("Attempts"), *_attempts(status.stages)]
    else:
        failures = [stage for stage in status.stages if stage.outcome in (Outcome.FAILED, Outcome.INTERRUPTED, Outcome.LOST)]
        sections += [_title("Attempts that did not finish"), *_attempts(failures)] if failures else []
    if details.pods:
        sections += [_title("Pods"), _pods(details.pods)]
    if details.events:
        sections += [_title("Events"), *_events(details.events)]
    return Group(*sections)


def beside(name: str, value: Text, cells: int = NAME_CELLS, style: str = "dim") -> RenderableType:
    """A text of any length, wrapped beside its name, which takes ``cells``; both take `SENTENCE_COLUMNS` at most."""
    grid = Table.grid()
    grid.add_column(width=cells, style=style)
    grid.add_column(overflow="fold")
    grid.add_row(name, value)
    return Constrain(grid, SENTENCE_COLUMNS)


def _line(name: str, value: Text) -> RenderableType:
    """A line that is not broken, so that a URI can be copied; only sentences are wrapped."""
    if name in ("message", "by", "stored"):
        return beside(name, value)
    return Text.assemble((f"{name:<{NAME_CELLS}}", "dim"), value, no_wrap=True, overflow="ignore")


def _title(name: str) -> Text:
    return Text(f"\n{name}", style="bold")


def _facts(run: SERRun, now: datetime, details: Details) -> Iterable[tuple[str, Text]]:
    status, loop = run.status, run.spec.loop
    yield "phase", Text(status.phase.value, style=PHASE_STYLES.get(status.phase, ""))
    if status.message:
        yield "message", Text(shown_line(status.message))
    if details.next_step:
        yield "next", Text(shown_line(details.next_step))
    if details.runner:
        yield "by", Text(shown_line(details.runner))
    if status.waiting_since and status.phase in (Phase.QUEUED, Phase.WAITING):
        yield "waiting", Text(f"for {elapsed(status.waiting_since, None, now)}, since {status.waiting_since}")
    yield from _live(status, now)
    learning = "" if status.learning_status is None else f", learning status {status.learning_status.value}"
    yield "loop", Text(f"{status.iteration} of at most {loop.max_iterations}, rule {loop.rule.value}{learning}")
    yield from _best(status)
    if status.policy is not None:
        yield "policy", Text(policy_line(status.policy))
        yield "", Text(status.policy.uri)
    if status.started_at:
        end = "" if status.finished_at is None else f" to {status.finished_at}"
        taken = elapsed(status.started_at, status.finished_at, now)
        yield "time", Text(f"{status.started_at}{end} ({taken}{' so far' if not end else ''})")
    if run.spec.active_deadline is not None:
        counted = status.counted.admitted_seconds if status.counted is not None else 0.0
        yield "deadline", Text(f"stages ran for {lasting((status.admitted_seconds or 0.0) + counted)} of {run.spec.active_deadline}")
    if status.gpu_hours or run.spec.budget is not None:
        allowed = "" if run.spec.budget is None else f" of {run.spec.budget.gpu_hours:g}"
        yield "GPU-hours", Text(f"{decimals(status.gpu_hours)}{allowed}")
    yield "store", Text(run.spec.storage.uri)
    if status.stored is not None:
        kinds = status.stored.by_kind()
        told = ", ".join(f"{kind} {size / 1e6:,.1f}" for kind, size in kinds.items())
        yield "stored", Text(f"{sum(kinds.values()) / 1e6:,.1f} MB: {told}")
    yield "UID", Text(run.metadata.uid)


def _live(status: SERRunStatus, now: datetime) -> Iterable[tuple[str, Text]]:
    live = live_attempt(status)
    if live is None:
        return
    yield "stage", Text(f"{key_of(live)}, attempt {live.attempt}, since {elapsed(live.started_at, None, now)}")
    progress = status.progress
    if progress is not None:
        done = round(progress.percent / 100 * BAR_CELLS)
        bar = Text.assemble(("━" * done, "green"), ("━" * (BAR_CELLS - done), "dim"))
        yield "progress", Text.assemble(bar, f" {progress.percent} %, {progress.step:,} of {progress.total:,} {progress.unit}")


def _best(status: SERRunStatus) -> Iterable[tuple[str, Text]]:
    row = status.best
    if row is None or status.reward_model is None:
        return
    name = "the seed model" if row.iteration == 0 else f"loop {row.iteration}"
    spread = interval(row.accuracy_low, row.accuracy_high)
    yield "best model", Text(f"{name}: held-out accuracy {status.reward_model.accuracy:.3f} (95 % interval {spread})")
    yield "", Text(status.reward_model.uri)
    if told := cut_line(status):
        yield "", Text(told)


def _conditions(conditions: Sequence[Condition], status: SERRunStatus) -> Table:
    own = {condition.type: condition.message for condition in conditions if condition.message not in ("", status.message)}
    table = plain_table("type", "status", "reason", "since", *(["message"] if own else []))
    for condition in conditions:
        cells = (condition.type, condition.status, condition.reason, condition.last_transition_time)
        message = [Text(own.get(condition.type, ""))] if own else []
        table.add_row(*cells, *message, style="" if condition.status == "True" else "dim")
    return table


def _attempts(stages: Iterable[StageStatus]) -> Iterable[RenderableType]:
    """A table, and under it the messages: they are too long for a column."""
    table, messages = plain_table("stage", "attempt", "outcome", "exit", "reason", "finished"), []
    for stage in stages:
        name = f"{stage.stage.value} {stage.iteration}"
        code = "" if stage.exit_code is None else str(stage.exit_code)
        outcome = Text(stage.outcome.value, style=_OUTCOME_STYLES.get(stage.outcome, ""))
        table.add_row(name, str(stage.attempt), outcome, code, stage.reason, stage.finished_at or "")
        if stage.message:
            messages.append(Text.assemble((f"{name}, attempt {stage.attempt}: ", "dim"), shown_line(stage.message)))
    return (table, Text(), *messages) if messages else (table,)


def _pods(pods: Iterable[Mapping[str, Any]]) -> Table:
    table = plain_table("pod", "phase", "node")
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"])):
        state = pod.get("status", {})
        table.add_row(pod["metadata"]["name"], state.get("phase", ""), pod["spec"].get("nodeName", ""))
    return table


def _events(events: Iterable[Mapping[str, Any]]) -> Iterable[Text]:
    for event in sorted(events, key=event_time)[-LAST_EVENTS:]:
        style = "yellow" if event.get("type") == "Warning" else ""
        reason, message = (shown_line(str(event.get(name, ""))) for name in ("reason", "message"))
        yield Text.assemble((f"{shown_line(event_time(event)[:19])}  ", "dim"), (f"{reason}: ", style), message)


def event_time(event: Mapping[str, Any]) -> str:
    """When an event was last seen."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("metadata", {}).get("creationTimestamp") or "")


def elapsed(begin: str, end: str | None, now: datetime) -> str:
    """Time between two moments, or up to ``now``, in its two largest units; `an unknown time` where a status holds no moments."""
    try:
        return lasting(((read_time(end) if end else now) - read_time(begin)).total_seconds())
    except ValueError:
        return "an unknown time"


def plain_table(*columns: str) -> Table:
    """A table without frame. Its last column may wrap, the others never."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name != columns[-1])
    return table
