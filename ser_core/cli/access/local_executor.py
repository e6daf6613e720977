"""Carries out the planner's actions on this machine: one process per stage, forked from a warm server.

The stage processes are started by command line (``python -m ser_jobs.fork_server``); nothing of them is imported here.
"""

import json
import math
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from ser_core.api.stage import StageResult
from ser_core.api.stage_wire import STAGE, write_stage_spec
from ser_core.errors import NodeDiskFull, SERError, is_disk_full
from ser_core.loop.deciding.attempt_resources import KILLED
from ser_core.loop.observed import Action, Leg, ObservedAttempt, StartStage

PYTHON: tuple[str, ...] = (sys.executable, "-P")
"""Python as programs of this project are started: a file of the user's folder, such as random.py, is no module of theirs."""
SERVER: tuple[str, ...] = (*PYTHON, "-m", "ser_jobs.fork_server")
"""Command line of the server."""
SERVER_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "GOMP_SPINCOUNT": "1000",  # longer spinning made a shared two-core machine 2 to 12 times slower, none a calm one 15 % slower
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class StageEvent:
    """One line that a stage process said."""

    job: str
    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Process:
    attempt: ObservedAttempt
    output: Path
    result: Path
    read: int = 0
    until: float = math.inf
    """When its time is over, in seconds since the epoch."""
    stopped: bool = False


class LocalExecutor:
    """Starts, stops and observes stage processes. Use as a context manager: leaving it ends what still runs.

    Args:
        run: Short name of the run, the same for each `ser run` of it: who holds the lock removes the folders that killed ones left.
    """

    def __init__(self, run: str) -> None:
        self._prefix = f"ser-run-{run}-"
        self._processes: dict[str, _Process] = {}
        self._numbers: dict[str, int] = {}
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()

    def __enter__(self) -> Self:
        remove_left_folders(self._prefix)
        self._folder = tempfile.TemporaryDirectory(prefix=self._prefix, ignore_cleanup_errors=True)
        self._server_log = Path(self._folder.name, "fork-server.log")
        with self._server_log.open("wb") as log:
            self._server = subprocess.Popen(
                SERVER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches ser run alone, which then stops the stages in order
                env=SERVER_ENVIRONMENT | os.environ,
            )
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server.stdin is not None:
            self._server.stdin.close()
        try:
            self._server.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._folder.cleanup()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the processes that still work for the run when `ser run` is killed: the server and its stages."""
        return (self._server.pid, *self._numbers.values())

    def observe(self) -> tuple[ObservedAttempt, ...]:
        """Every attempt that was started here, as it stands now."""
        return tuple(process.attempt for process in self._processes.values())

    def carry_out(self, action: Action) -> None:
        """Start or stop an attempt. Doing it twice has the effect of once."""
        if not isinstance(action, StartStage):
            self._stop(action.job)
        elif action.job not in self._processes:
            self._start(action)

    def wait(self, seconds: float) -> list[StageEvent]:
        """Wait until something ends, at most ``seconds``; return the events of the stages until then.

        Raises:
            SERError: The server of the stage processes ended by itself (reason `StageServerEnded`).
        """
        self._stop_overdue()
        try:
            self._take(self._messages.get(timeout=seconds))
            while True:
                self._take(self._messages.get_nowait())
        except queue.Empty:
            return self._read_outputs()

    def _start(self, action: StartStage) -> None:
        spec, folder = action.spec, Path(self._folder.name, action.job)
        now = datetime.now(UTC)
        identity = (spec.iteration, spec.stage, spec.attempt, action.job)
        attempt = ObservedAttempt(*identity, "running", spec.mode, started_at=now, legs=(Leg(now),))
        until = math.inf if action.max_seconds is None else now.timestamp() + action.max_seconds
        process = _Process(attempt, folder / "output", folder / "result.json", until=until)
        self._processes[action.job] = process
        try:
            folder.mkdir()
            process.output.touch()
        except OSError as error:
            if not is_disk_full(error):
                raise
            self._end_without_disk(action.job, folder)
            return
        environment = {
            STAGE: write_stage_spec(spec),
            "SER_TERMINATION_MESSAGE": str(process.result),
            "SER_WORKDIR": str(folder),
            **dict.fromkeys(_THREAD_VARIABLES, str(spec.threads)),
        }
        self._send({"start": action.job, "environment": environment, "output": str(process.output)})

    def _end_without_disk(self, job: str, folder: Path) -> None:
        """An attempt that could not even be started; the planner tries again after a pause."""
        told = StageResult(outcome="failed", reason=NodeDiskFull.__name__, message=f"the disk of {folder.parent} is full")
        ended = replace(self._processes[job].attempt, state="failed", exit_code=NodeDiskFull.exit_code, result=told)
        self._processes[job] = replace(self._processes[job], attempt=replace(ended, finished_at=datetime.now(UTC), legs=()))

    def _stop(self, job: str) -> None:
        process = self._processes.get(job)
        if process is not None and process.attempt.state == "running" and not process.stopped:
            self._processes[job] = replace(process, stopped=True)
            self._send({"stop": job})

    def _stop_overdue(self) -> None:
        now = datetime.now(UTC).timestamp()
        for job, process in list(self._processes.items()):
            if now >= process.until:
                self._stop(job)

    def _send(self, request: dict[str, Any]) -> None:
        if self._server.stdin is None:
            raise SERError("the stage server has no input", reason="StageServerEnded")
        try:
            self._server.stdin.write((json.dumps(request) + "\n").encode())
            self._server.stdin.flush()
        except BrokenPipeError as error:
            raise self._server_ended() from error

    def _listen(self) -> None:
        if self._server.stdout is not None:
            with self._server.stdout as lines:
                for message in filter(None, map(_message, lines)):
                    self._messages.put(message)
        self._messages.put({"closed": True})

    def _take(self, message: dict[str, Any]) -> None:
        if "closed" in message:
            raise self._server_ended()
        if "started" in message:
            self._numbers[message["started"]] = message["pid"]
        if "ended" in message:
            self._numbers.pop(message["ended"], None)
            process, now = self._processes[message["ended"]], datetime.now(UTC)
            attempt = replace(
                process.attempt,
                state="succeeded" if message["exitCode"] == 0 else "failed",
                exit_code=message["exitCode"],
                result=_read_result(process.result) or (None if process.stopped else _killed(message["exitCode"])),
                finished_at=now,
                legs=tuple(replace(leg, end=now) for leg in process.attempt.legs),
            )
            self._processes[message["ended"]] = replace(process, attempt=attempt)

    def _server_ended(self) -> SERError:
        lines = self._server_log.read_text(errors="replace").strip().splitlines()
        missing = any("No module named" in line for line in lines)
        return SERError(
            f"the server of the stage processes ended: {lines[-1] if lines else 'no message'}",
            reason="StageServerEnded",
            hint="in a checkout of this project: pip install '.[jobs]'"
            if missing
            else "run the same command again; it continues where the run stands",
        )

    def _read_outputs(self) -> list[StageEvent]:
        events: list[StageEvent] = []
        for job, process in list(self._processes.items()):
            if not process.output.exists():
                continue
            with process.output.open("rb") as output:
                output.seek(process.read)
                content = output.read()
            complete = content[: content.rfind(b"\n") + 1]
            self._processes[job] = replace(process, read=process.read + len(complete))
            events += read_events(job, complete)
        return events


_SHOWN_OF = {"progress": frozenset({"step", "total", "unit"}), "output": frozenset({"text"})}


def remove_left_folders(prefix: str) -> None:
    """Remove the work folders that killed processes of this user have left under a prefix that only they used."""
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if left.lstat().st_uid == os.getuid():
            shutil.rmtree(left, ignore_errors=True)


def read_events(job: str, content: bytes) -> list[StageEvent]:
    """Complete lines that a stage has printed."""
    # Bytes are cut: text has more line ends, which JSON keeps within a text.
    lines = (line.decode("utf-8", errors="replace") for line in content.splitlines())
    return [read_event(job, line) for line in lines if line.strip()]


def read_event(job: str, line: str) -> StageEvent:
    """A line that a stage has printed. What is no event, or lacks what is shown of it, a library has printed."""
    output = StageEvent(job, "output", {"text": line})
    try:
        fields = json.loads(line)
        event = StageEvent(job, str(fields.pop("event")), fields)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return output
    return event if _SHOWN_OF.get(event.name, frozenset()) <= fields.keys() else output


def _message(line: bytes) -> dict[str, Any] | None:
    """What the server says in a line; None: a library has printed it, as some do when they are imported."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _killed(exit_code: int) -> StageResult | None:
    """What a process that could say nothing would say: where nobody else tells why, SIGKILL is mostly the kernel's for memory."""
    if exit_code != KILLED:
        return None
    return StageResult(outcome="failed", reason="Killed", message="the process was killed, mostly because the machine had no memory left")


def _read_result(path: Path) -> StageResult | None:
    try:
        return StageResult.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
