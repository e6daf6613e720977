"""`ser run`: carry a SERRun out on this machine, with the planner and the stages that a cluster uses."""

import os
import shlex
import signal
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import typer

from ser_core.api.serrun import SERRun
from ser_core.api.stage import RunIdentity, StageResult
from ser_core.api.status import Outcome, Phase, StageStatus
from ser_core.cli.access.begun_run import begun_run, is_over, with_spec
from ser_core.cli.access.local_executor import LocalExecutor
from ser_core.cli.access.runner import Held, locked
from ser_core.cli.access.saved_run import SavedRun
from ser_core.cli.access.serrun_file import located, read_serrun
from ser_core.cli.access.stored_run import SOON, JsonLines, RunFile, run_command
from ser_core.cli.checks.spec import warnings
from ser_core.cli.views.display import Display, choose_display
from ser_core.cli.views.next_step import next_step
from ser_core.cli.views.output import say
from ser_core.errors import SERError
from ser_core.loop.deciding.attempts import without_pauses
from ser_core.loop.deciding.faults import SER_RUN_ENDED
from ser_core.loop.deciding.reopening import failure_of, is_out_of_time
from ser_core.loop.observed import Observed, ObservedAttempt, Plan
from ser_core.loop.plan import plan
from ser_core.store.objects.connect import connect, folder_of
from ser_core.store.objects.port import ObjectStore
from ser_core.store.objects.retry import Retry
from ser_core.store.runs.leader import find_leader
from ser_core.store.runs.run_object import create_run
from ser_core.store.stages.checkpoints import CheckpointStore

EXIT_SUSPENDED = 75
"""Exit code of a run that waits for the user: suspended, or out of budget or time (EX_TEMPFAIL of sysexits.h)."""
LEFT_TO_THE_USER = (Phase.SUSPENDED, Phase.BUDGET_EXCEEDED)
AT_ONCE = Retry(deadline_seconds=2.0)
"""Deadline for the store while a run is carried out and its stages wait for the store themselves."""
_POLL_SECONDS = 0.25


class Interruption:
    """Ctrl-C or SIGTERM to `ser run`: the run is suspended in order; a second one ends it at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._told = False

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Signal handler."""
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number

    def is_new(self) -> bool:
        """Whether there is one that nobody has been told of yet."""
        new, self._told = self.number is not None and not self._told, self.number is not None
        return new


def run(file: RunFile, as_json: JsonLines = False) -> None:
    """Carry a run out on this machine, or continue it.

    Ctrl-C saves a checkpoint and suspends the run; the same command continues it. The file is read again when it changes: suspend,
    resources, budget, activeDeadline and a raised maxIterations take effect at once.
    """
    raise typer.Exit(run_file(file, choose_display(as_json=as_json)))


def run_file(path: Path, display: Display) -> int:
    """Start the run of ``path`` or continue it where its manifests say, until it ends or the user must act. It waits for the world itself.

    Returns:
        0 completed; the failing stage's exit code; 75 suspended, or out of budget or time; 130 after Ctrl-C, 143 after SIGTERM.

    Raises:
        SpecError: The file is wrong, or an immutable field differs from what the run started with.
        StoreError: The store cannot be used.
        SERError: Another `ser run` has taken the run over, since this one was frozen (reason `LockLost`).
    """
    interruption = Interruption()
    try:
        return _run(path, display, interruption)
    except KeyboardInterrupt:
        if interruption.number is None:  # while it waited for another ser run: nothing was begun
            raise
        display.warn(f"ended at once; to go on: {run_command(path)}")
        return 128 + interruption.number


def _run(path: Path, display: Display, interruption: Interruption) -> int:
    wanted = read_serrun(path)
    store, soon = connect(wanted.spec.storage), connect(wanted.spec.storage, SOON)
    with located(path):
        found = begun_run(soon, wanted, path)
    if found is not None and is_over(found):
        return _ended_before(found, path, display)
    if found is None:
        _tell_of_a_new_folder(wanted)
        for told in warnings(wanted.spec):
            display.warn(told)
    at_once = connect(wanted.spec.storage, AT_ONCE, stands=True)  # whoever holds the lock has made the folder
    with locked(soon, at_once, wanted.metadata.namespace, wanted.metadata.name, display.warn, run_command(path)) as lock:
        for number in (signal.SIGINT, signal.SIGTERM):  # not before: a signal ends the waiting for the lock at once
            signal.signal(number, interruption.handle)
        with located(path):
            begun = begun_run(soon, wanted, path)
            run = _begun(soon, wanted) if begun is None else begun.model_copy(update={"status": without_pauses(begun.status)})
        if is_over(run):  # by the one that was waited for
            return _ended_before(run, path, display)
        with LocalExecutor(run.metadata.uid[:12]) as executor, display:
            saved = SavedRun(at_once, display.warn)
            run = _drive(run, path, store, saved, executor, display, interruption, lock)
        display.ended(run, store, _hint(run, path))
    return 128 + interruption.number if interruption.number is not None and not run.status.has_ended else _exit_code(run)


def _drive(
    run: SERRun,
    path: Path,
    store: ObjectStore,
    saved: SavedRun,
    executor: LocalExecutor,
    display: Display,
    interruption: Interruption,
    lock: Held,
) -> SERRun:
    before = ended_attempts(run, store)
    threads = len(os.sched_getaffinity(0))
    read_at = _changed_at(path)
    while True:
        lock.keep(executor.numbers)
        if (changed_at := _changed_at(path)) not in (None, read_at):
            read_at = changed_at
            run = _reread(run, path, display)
        if interruption.is_new():
            display.warn("interrupted: what runs saves a checkpoint and ends; Ctrl-C again ends it at once")
        asked = _suspended(run) if interruption.number is not None else run
        planned = plan(asked, Observed(before + executor.observe(), threads=threads), datetime.now(UTC))
        if asked.spec.suspend != run.spec.suspend:
            planned = _told_as_interruption(planned, path)
        for action in planned.actions:
            executor.carry_out(action)
        if planned.status != run.status:
            run = run.model_copy(update={"status": planned.status})
            saved.save(run)
        saved.flush()
        display.show(run, planned)
        over = planned.status.has_ended or (planned.status.phase in LEFT_TO_THE_USER and not _live(executor))
        if over and (saved.flush() or interruption.number is not None):
            return run
        for event in executor.wait(_POLL_SECONDS):
            display.stage_event(event)


def _told_as_interruption(planned: Plan, path: Path) -> Plan:
    """After Ctrl-C the planner's texts name the field `suspend`, which nobody has set."""
    if planned.status.phase is not Phase.SUSPENDED:
        return planned
    before, told = planned.status, {"message": f"interrupted; to go on: {run_command(path)}"}
    conditions = tuple(one.model_copy(update=told) if one.message == before.message else one for one in before.conditions)
    status = before.model_copy(update=told | {"conditions": conditions})
    return replace(planned, status=status, events=tuple(event for event in planned.events if event.reason != Phase.SUSPENDED))


def _suspended(run: SERRun) -> SERRun:
    """``run`` as the planner sees it after Ctrl-C. Its own spec still says what the file says."""
    return run.model_copy(update={"spec": run.spec.model_copy(update={"suspend": True})})


def ended_attempts(run: SERRun, store: ObjectStore) -> tuple[ObservedAttempt, ...]:
    """Attempts that the status calls running although no process is left: the machine or `ser run` was killed.

    Holding the run's lock proves that they are gone, so they count as taken away, with the newest checkpoint that they left.
    """
    return tuple(_taken_away(run, stage, store) for stage in run.status.stages if stage.outcome is Outcome.RUNNING)


def _taken_away(run: SERRun, stage: StageStatus, store: ObjectStore) -> ObservedAttempt:
    identity = RunIdentity.of(run.metadata)
    step = CheckpointStore(store, identity, stage.iteration, stage.stage).newest_step()
    return ObservedAttempt(
        stage.iteration,
        stage.stage,
        stage.attempt,
        stage.job,
        "failed",
        "report" if stage.mode == "report" else "execute",
        exit_code=143,
        result=StageResult(outcome="interrupted", reason=SER_RUN_ENDED, message="ser run was ended", checkpoint_step=step),
        finished_at=datetime.now(UTC),
    )


def _begun(store: ObjectStore, wanted: SERRun) -> SERRun:
    """A new run."""
    metadata = wanted.metadata.model_copy(update={"uid": uuid.uuid4().hex, "generation": 1})
    if wanted.spec.from_ is not None:  # a run that nobody has would otherwise end this one for good
        find_leader(store, RunIdentity.of(metadata), wanted.spec.from_.run)
    return create_run(store, SERRun(metadata=metadata, spec=wanted.spec))


def _tell_of_a_new_folder(wanted: SERRun) -> None:
    folder = folder_of(wanted.spec.storage)
    if folder is not None and not folder.is_dir():
        say(f"storage.uri: {folder} does not exist, and is made for a new run")


def _changed_at(path: Path) -> int | None:
    """None: there is no such file, as while an editor replaces it."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _reread(run: SERRun, path: Path, display: Display) -> SERRun:
    try:
        return with_spec(run, read_serrun(path))
    except SERError as error:
        display.warn(f"change of {path} ignored: {error.message}")
        return run


def _live(executor: LocalExecutor) -> bool:
    return any(attempt.state == "running" for attempt in executor.observe())


def _ended_before(run: SERRun, path: Path, display: Display) -> int:
    display.ended_before(run, _hint(run, path))
    return _exit_code(run)


def _hint(run: SERRun, path: Path) -> str:
    return next_step(run, shlex.quote(str(path)), on_cluster=False)


def _exit_code(run: SERRun) -> int:
    if run.status.phase is Phase.COMPLETED:
        return 0
    if run.status.phase in LEFT_TO_THE_USER or is_out_of_time(run):
        return EXIT_SUSPENDED
    failed = failure_of(run)
    return (failed.exit_code if failed is not None else None) or 1
