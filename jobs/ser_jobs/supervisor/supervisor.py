"""PID 1 of a stage's container: ``python -m ser_jobs.supervisor ARGUMENTS`` runs ``python ARGUMENTS`` once for each GPU.

The supervisor computes nothing and imports no torch, so it can act when a process that computes cannot. It ends all processes when one
fails, finds a process that hangs, passes SIGTERM on, and kills the processes that do not stop in time. `Supervision` holds its settings,
`ends` lists what can end a stage, `report` says so.

Each process gets torchrun's variables (``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE``; ``MASTER_ADDR`` and ``MASTER_PORT`` come with the pod), a
heartbeat file, a termination message file and a file for its memory plan of its own.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ser_core.errors import Interrupted
from ser_jobs.process import input_folder
from ser_jobs.supervisor import errors, processes, stack_dumps, supervision
from ser_jobs.supervisor.ends import End, cause, with_kernel_kills
from ser_jobs.supervisor.report import TERMINATION_MESSAGE, report, say
from ser_jobs.supervisor.silence import Silence, SilenceWatch
from ser_jobs.supervisor.stop import Stop
from ser_jobs.supervisor.supervision import Supervision
from ser_jobs.telemetry import heartbeat, memory_plan, stacks
from ser_jobs.telemetry.control_group import kernel_kills

POLL_SECONDS = 0.5
LAST_WORDS_SECONDS = 5.0
"""Time that the other processes have to save their logs once one has failed."""
PRECEDENCE_SECONDS = 5.0
"""Time by which a pod of several reports a hang later if none of its own processes is frozen: the pod with the frozen one, which knows the
cause, is then heard first."""
RESERVE = 0.1
"""Share of the grace period that is kept for killing the processes that did not stop, and for saying so."""


@dataclass(slots=True)
class _Process:
    pid: int
    rank: int
    heartbeat: Path
    stacks: Path
    watch: SilenceWatch


@dataclass(slots=True)
class _Supervisor:
    settings: Supervision
    arguments: Sequence[str]
    folder: Path
    stop: Stop
    alive: list[_Process] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    """In the order in which they happened."""
    messages: dict[int, Path] = field(default_factory=dict)
    plans: dict[int, Path] = field(default_factory=dict)

    def run(self) -> int:
        """Run all processes to their end; returns the container's exit code."""
        self._meet()
        if not self.ends:
            kills = kernel_kills()
            for local_rank in range(self.settings.processes):
                self.alive.append(self._start(local_rank))
            self._watch()
            self._end_unstopped()
            if kernel_kills() > kills:
                self.ends = with_kernel_kills(
                    self.ends, lambda rank: errors.killed_by_kernel(rank, os.environ["SER_STAGE"], self.plans[rank])
                )
        return report(self.ends, self.messages)

    def _meet(self) -> None:
        """Wait for the other pods of the gang."""
        if self.settings.pods == 1 or "MASTER_ADDR" not in os.environ:  # the pods of a stage that only divides its work do not meet
            return
        from ser_jobs.supervisor.rendezvous import Meeting, meet  # sockets take a third of the start, and most stages have one pod

        environment = os.environ
        stage = json.loads(environment.get("SER_STAGE", "{}"))
        gang = "/".join(
            str(part) for part in (stage.get("run", {}).get("uid"), *(stage.get(key) for key in ("iteration", "stage", "attempt")))
        )
        where = environment["MASTER_ADDR"], int(environment["MASTER_PORT"]) + 1
        meeting = Meeting(gang, self.settings.index, self.settings.pods, *where, self.settings.rendezvous)
        missing = meet(meeting, environment.get("POD_IP", ""), lambda: self.stop.received)
        if missing and self.stop.received:
            self.ends.append(End(None, Interrupted.exit_code))
        elif missing:
            self.ends.append(End.of(errors.rendezvous_timeout(self.settings, missing)))

    def _start(self, local_rank: int) -> _Process:
        rank = self.settings.first_rank + local_rank
        files = {name: self.folder / f"{name}-{rank:04d}" for name in ("heartbeat", "message", "stacks", "plan")}
        environment = {
            **os.environ,
            heartbeat.VARIABLE: str(files["heartbeat"]),
            stacks.VARIABLE: str(files["stacks"]),
            memory_plan.VARIABLE: str(files["plan"]),
            TERMINATION_MESSAGE: str(files["message"]),
        }
        if self.settings.processes > 1:
            environment[input_folder.VARIABLE] = str(self.folder / "inputs")
        if self.settings.world_size > 1:
            environment |= {"RANK": str(rank), "LOCAL_RANK": str(local_rank), "WORLD_SIZE": str(self.settings.world_size)}
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", **environment}
        pid = processes.start([sys.executable, *self.arguments], environment)
        self.messages[rank], self.plans[rank] = files["message"], files["plan"]
        return _Process(pid, rank, files["heartbeat"], files["stacks"], SilenceWatch(self.settings.bounds, time.monotonic()))

    def _watch(self) -> None:
        """Wait until every process has ended, or the time that the rest of them had is over."""
        until = float("inf")
        asked = False
        while self.alive and time.monotonic() < until:
            self.stop.sleep(POLL_SECONDS)
            self._take_ends()
            end = cause(self.ends)
            # A process that ends on request speaks for all: the ranks agree to stop, and rank 0 may still be saving the checkpoint.
            if not asked and (self.stop.received or (end is not None and end.code == Interrupted.exit_code)):
                asked = True
                until = min(until, time.monotonic() + self.settings.grace * (1 - RESERVE))
                for process in self.alive:
                    processes.send(process.pid, signal.SIGTERM)
            if end is not None and end.code != Interrupted.exit_code:
                until = min(until, time.monotonic() + LAST_WORDS_SECONDS)
            elif not asked and (silences := self._silences_of_a_hang()):
                self._end_hung(silences)

    def _take_ends(self) -> None:
        for pid, code in processes.ended():
            for process in [process for process in self.alive if process.pid == pid]:
                self.alive.remove(process)
                self.ends.append(End(process.rank, code))
                if code and self.settings.world_size > 1:
                    say("rank-ended", rank=process.rank, exitCode=code)

    def _silences_of_a_hang(self) -> dict[int, Silence]:
        """How long each process has shown no sign of life, by rank; empty if none of them hangs."""
        now = time.monotonic()
        for process in self.alive:
            process.watch.see(heartbeat.read(process.heartbeat), now)
        silences = {process.rank: process.watch.silence(now) for process in self.alive}
        return silences if any(silence.too_long for silence in silences.values()) else {}

    def _end_hung(self, silences: dict[int, Silence]) -> None:
        """Dump the stacks of all processes, kill them, and save the stacks."""
        frozen = [process.rank for process in self.alive if processes.is_stopped(process.pid)]
        files = {process.rank: process.stacks for process in self.alive}
        stack_dumps.dump({process.rank: process.pid for process in self.alive}, files)
        if self.settings.pods > 1 and not frozen:
            time.sleep(PRECEDENCE_SECONDS)
        self._kill_all()
        # Reported before the upload, too: the store may not answer before the pod is killed.
        report([*self.ends, End.of(errors.stage_hung(silences, frozen, None))], self.messages)
        self.ends.append(End.of(errors.stage_hung(silences, frozen, stack_dumps.upload(files))))

    def _end_unstopped(self) -> None:
        """Kill the processes that are still alive when their time is over."""
        if self.alive:
            self.ends.append(End.of(errors.unstopped([process.rank for process in self.alive], self.settings.grace)))
            self._kill_all()

    def _kill_all(self) -> None:
        for process in self.alive:
            processes.kill(process.pid)
        self.alive.clear()


def main() -> int:
    """Run the stage that the environment describes, to its end."""
    settings = supervision.from_environment(os.environ)
    stop = Stop(time.monotonic() + settings.budget)
    stop.install()
    # A process that was just killed may still write into the folder. Files that cannot be removed for that reason end with the pod.
    with tempfile.TemporaryDirectory(prefix="supervisor-", dir=os.environ.get("SER_WORKDIR"), ignore_cleanup_errors=True) as folder:
        return _Supervisor(settings, sys.argv[1:], Path(folder), stop).run()
