"""What `ser run` shows: a live table and progress bars on a terminal, one JSON line per event otherwise."""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ser_core.api.serrun import SERRun
from ser_core.api.status import Outcome, Phase, SERRunStatus, StageStatus
from ser_core.cli.access.local_executor import StageEvent
from ser_core.cli.views.evolution_view import COLUMNS_NEEDED, evolution_table
from ser_core.cli.views.policy_line import policy_line
from ser_core.cli.views.terminal import SafeConsole
from ser_core.loop.observed import Plan
from ser_core.shown import shown
from ser_core.store.objects.port import ObjectStore

_SECONDS_BETWEEN_PROGRESS = 10.0


class Display(Protocol):
    """What `ser run` shows."""

    def __enter__(self) -> Self:
        """Begin to show a run."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop to show it, and leave the terminal as it was."""
        ...

    def show(self, run: SERRun, planned: Plan) -> None:
        """The run as it is after a plan was carried out."""
        ...

    def stage_event(self, event: StageEvent) -> None:
        """A line of a stage process."""
        ...

    def warn(self, message: str) -> None:
        """Something that the user should know."""
        ...

    def ended_before(self, run: SERRun, hint: str) -> None:
        """The run had ended when `ser run` was called; ``hint`` says what can be done."""
        ...

    def ended(self, run: SERRun, store: ObjectStore, hint: str) -> None:
        """The run has ended or waits; ``hint`` says what can be done, if something must be."""
        ...


def choose_display(*, as_json: bool) -> Display:
    """The live display on a terminal, JSON lines otherwise or when asked for."""
    return JsonDisplay() if as_json or not sys.stdout.isatty() else LiveDisplay()


class JsonDisplay:
    """One JSON event a line on standard output. Of a stage's progress the first and the last line, and one every ten seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown = SERRunStatus()
        self._next_progress: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def show(self, run: SERRun, planned: Plan) -> None:
        """One line per new event, loop and control, and for the policy."""
        for event in planned.events:
            _line(event.reason, type=event.type, message=event.message)
        for row in run.status.iterations:
            if row not in self._shown.iterations and row.accuracy is not None:
                _line("iteration", **row.model_dump(mode="json", by_alias=True))
        for control in run.status.controls:
            if control not in self._shown.controls:
                _line("control", **control.model_dump(mode="json", by_alias=True))
        if run.status.policy is not None and self._shown.policy is None:
            _line("policy", **run.status.policy.model_dump(mode="json", by_alias=True))
        self._shown = run.status

    def stage_event(self, event: StageEvent) -> None:
        """The stage's own line, with the name of its process."""
        if event.name == "progress" and event.fields["step"] < event.fields["total"]:
            now = self._clock()
            if now < self._next_progress.get(event.job, now):
                return
            self._next_progress[event.job] = now + _SECONDS_BETWEEN_PROGRESS
        _line(event.name, job=event.job, **{name: value for name, value in event.fields.items() if name not in ("time", "job", "name")})

    def warn(self, message: str) -> None:
        """One warning line."""
        _line("warning", message=message)

    def ended_before(self, run: SERRun, hint: str) -> None:
        """One line with the phase."""
        _ended(run, hint)

    def ended(self, run: SERRun, store: ObjectStore, hint: str) -> None:
        """One line with the phase."""
        _ended(run, hint)


def _ended(run: SERRun, hint: str) -> None:
    _line("ended", phase=run.status.phase, message=run.status.message, **({"hint": hint} if hint else {}))


def _line(name: str, **fields: Any) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(shown(json.dumps({"time": now, "event": name, **fields}, ensure_ascii=False, default=str)), flush=True)


class LiveDisplay:
    """The evolution as a table that grows, under it one bar per running stage."""

    def __init__(self) -> None:
        self._console = SafeConsole()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._live = Live(console=self._console, refresh_per_second=5, transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def show(self, run: SERRun, planned: Plan) -> None:
        """Redraw table and bars; warnings stay above them."""
        for event in planned.events:
            if event.type == "Warning":
                self._console.print(f"[yellow]{event.reason}[/]: ", Text(event.message), sep="")
        running = {stage.job: stage for stage in run.status.stages if stage.outcome is Outcome.RUNNING}
        for job in [job for job in self._tasks if job not in running]:
            self._progress.remove_task(self._tasks.pop(job))
        for job, stage in running.items():
            if job not in self._tasks:
                self._tasks[job] = self._progress.add_task(_title(stage), total=None, unit="")
        waits = [Text(f"waiting: {run.status.message}", style="yellow")] if run.status.phase is Phase.WAITING else []
        self._live.update(Group(self._table(run), *waits, self._progress))

    def stage_event(self, event: StageEvent) -> None:
        """Move the stage's bar; errors stay on the screen."""
        if event.name == "progress" and event.job in self._tasks:
            fields = event.fields
            self._progress.update(self._tasks[event.job], completed=fields["step"], total=fields["total"], unit=fields["unit"])
        elif event.name == "output":
            self._console.print(Text(str(event.fields["text"]), style="dim"))

    def warn(self, message: str) -> None:
        """One line above the table."""
        self._console.print("[yellow]warning[/]: ", Text(message), sep="")

    def ended_before(self, run: SERRun, hint: str) -> None:
        """The table, and what can be done with a run that has ended."""
        self._console.print(self._table(run))
        self._console.print(Text(f"{run.metadata.name} had ended before: {run.status.phase}. {run.status.message}"))
        self._hint(hint)
        self._console.print("To run it anew: another metadata.name, or `ser purge` first.")

    def ended(self, run: SERRun, store: ObjectStore, hint: str) -> None:
        """The final table, the outcome and where the result lies."""
        self._console.print(self._table(run))
        self._console.print(Text(f"{run.status.phase} after {time.monotonic() - self._started:.0f} s: {run.status.message}"))
        if run.status.reward_model is not None:
            self._console.print(Text(f"best reward model: {run.status.reward_model.uri}"))
        if run.status.policy is not None:
            self._console.print(Text(f"policy: {policy_line(run.status.policy)}; {run.status.policy.uri}"))
        self._hint(hint)

    def _table(self, run: SERRun) -> Table:
        return evolution_table(run.status, narrow=self._console.width < COLUMNS_NEEDED)

    def _hint(self, hint: str) -> None:
        if hint:
            self._console.print(Text.assemble(("hint", "bold cyan"), f": {hint}"), soft_wrap=True)


def _title(stage: StageStatus) -> str:
    attempt = f", attempt {stage.attempt}" if stage.attempt > 1 else ""
    return f"{stage.stage} {stage.iteration}{attempt}"
