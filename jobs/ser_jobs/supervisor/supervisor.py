"""The first process of a stage's container: ``python -m ser_jobs.supervisor ARGUMENTS`` runs ``python ARGUMENTS`` once for each GPU.

It computes nothing and imports no torch, so it stays able to act when a process that computes is not: it ends all when one is lost, finds
one that hangs, passes SIGTERM on and ends what does not stop in time. What it is told stands in `supervision`. Each process gets
torchrun's variables (``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE``; ``MASTER_ADDR`` and ``MASTER_PORT`` come with the pod), a heartbeat file
and a termination message file of its own; the one that tells most becomes the container's.
"""

import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser_core.errors import Interrupted, OutOfMemory, RendezvousTimeout, SERError, StageHung
from ser_jobs.process import heartbeat, input_folder, stacks
from ser_jobs.process.control_group import kernel_kills
from ser_jobs.supervisor import errors, processes, stack_dumps, supervision
from ser_jobs.supervisor.ends import KILLED, End, cause
from ser_jobs.supervisor.silence import Silence, SilenceWatch
from ser_jobs.supervisor.supervision import Supervision

POLL_SECONDS = 0.5
LAST_WORDS_SECONDS = 5.0
"""What the other processes have to save their logs once one is lost."""
PRECEDENCE_SECONDS = 5.0
"""What a pod without a stopped process leaves to the others of its gang, one of which may know the reason and is then heard first."""
RESERVE = 0.1
"""Share of the grace period that is kept for ending what did not stop in time, and for saying so."""
TERMINATION_MESSAGE = "SER_TERMINATION_MESSAGE"


@dataclass(slots=True)
class _Process:
    pid: int
    rank: int
    heartbeat: Path
    message: Path
    stacks: Path
    watch: SilenceWatch


@dataclass(slots=True)
class _Stop:
    """SIGTERM of this process, or the moment at which the budget is spent."""

    until: float
    terminated: bool = False

    @property
    def received(self) -> bool:
        """Whether all must end."""
        return self.terminated or time.monotonic() >= self.until

    def install(self) -> int:
        """Take SIGTERM and SIGCHLD over; returns a descriptor that can be read when one has come."""
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        os.set_blocking(writable, False)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return readable

    def _take(self, *_: Any) -> None:
        self.terminated = True


@dataclass(slots=True)
class _Supervisor:
    told: Supervision
    arguments: Sequence[str]
    folder: Path
    stop: _Stop
    bell: int
    alive: list[_Process] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    messages: dict[int, Path] = field(default_factory=dict)

    def run(self) -> int:
        """Run all processes to their end; returns the container's exit code."""
        if self.told.pods > 1 and "MASTER_ADDR" in os.environ and not self._meet():  # processes that only share work out do not meet
            return Interrupted.exit_code if self.stop.received else RendezvousTimeout.exit_code
        killed_before = kernel_kills()
        for local_rank in range(self.told.processes):
            self.alive.append(self._start(local_rank))
        hung = self._watch()
        if hung:
            return self._end_hung(hung)
        unstopped = [process.rank for process in self.alive]
        self._kill_all()
        return self._conclude(unstopped, killed_by_kernel=kernel_kills() > killed_before)

    def _meet(self) -> bool:
        from ser_jobs.supervisor.rendezvous import Meeting, meet  # sockets take a third of the start, and most stages have one pod

        environment = os.environ
        stage = json.loads(environment.get("SER_STAGE", "{}"))
        gang = "/".join(
            str(part) for part in (stage.get("run", {}).get("uid"), *(stage.get(key) for key in ("iteration", "stage", "attempt")))
        )
        where = environment["MASTER_ADDR"], int(environment["MASTER_PORT"]) + 1
        meeting = Meeting(gang, self.told.index, self.told.pods, *where, self.told.rendezvous)
        missing = meet(meeting, environment.get("POD_IP", ""), lambda: self.stop.received)
        if missing and not self.stop.received:
            self._report(errors.rendezvous_timeout(self.told, missing))
        return not missing

    def _start(self, local_rank: int) -> _Process:
        rank = self.told.first_rank + local_rank
        files = {name: self.folder / f"{name}-{rank:04d}" for name in ("heartbeat", "message", "stacks")}
        environment = {
            **os.environ,
            heartbeat.VARIABLE: str(files["heartbeat"]),
            stacks.VARIABLE: str(files["stacks"]),
            TERMINATION_MESSAGE: str(files["message"]),
        }
        if self.told.processes > 1:
            environment[input_folder.VARIABLE] = str(self.folder / "inputs")
        if self.told.world_size > 1:
            environment |= {"RANK": str(rank), "LOCAL_RANK": str(local_rank), "WORLD_SIZE": str(self.told.world_size)}
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", **environment}
        pid = processes.start([sys.executable, *self.arguments], environment)
        self.messages[rank] = files["message"]
        return _Process(pid, rank, files["heartbeat"], files["message"], files["stacks"], SilenceWatch(self.told.bounds, time.monotonic()))

    def _watch(self) -> dict[int, Silence]:
        """Wait until all have ended, or those that have not must be ended; returns their silences by rank when one of them hangs."""
        until = float("inf")
        asked = False
        while self.alive and time.monotonic() < until:
            self._sleep()
            self._take_ends()
            end = cause(self.ends)
            # One that ends on request speaks for all: a gang agrees to stop, and its first process may still be saving the checkpoint.
            if not asked and (self.stop.received or (end is not None and end.code == Interrupted.exit_code)):
                asked = True
                until = min(until, time.monotonic() + self.told.grace * (1 - RESERVE))
                for process in self.alive:
                    processes.send(process.pid, signal.SIGTERM)
            if end is not None and end.code != Interrupted.exit_code:
                until = min(until, time.monotonic() + LAST_WORDS_SECONDS)
            elif not asked and (hung := self._silences_of_a_hang()):
                return hung
        return {}

    def _sleep(self) -> None:
        select.select([self.bell], [], [], POLL_SECONDS)
        try:
            os.read(self.bell, 4096)
        except BlockingIOError:
            return

    def _take_ends(self) -> None:
        for pid, code in processes.ended():
            for process in [process for process in self.alive if process.pid == pid]:
                self.alive.remove(process)
                self.ends.append(End(process.rank, code))
                if code and self.told.world_size > 1:
                    _say("rank-ended", rank=process.rank, exitCode=code)

    def _silences_of_a_hang(self) -> dict[int, Silence]:
        now = time.monotonic()
        for process in self.alive:
            process.watch.see(heartbeat.read(process.heartbeat), now)
        silences = {process.rank: process.watch.silence(now) for process in self.alive}
        return silences if any(silence.too_long for silence in silences.values()) else {}

    def _end_hung(self, silences: dict[int, Silence]) -> int:
        stopped = [process.rank for process in self.alive if processes.is_stopped(process.pid)]
        files = {process.rank: process.stacks for process in self.alive}
        stack_dumps.dump({process.rank: process.pid for process in self.alive}, files)
        if self.told.pods > 1 and not stopped:
            time.sleep(PRECEDENCE_SECONDS)
        self._kill_all()
        self._report(errors.stage_hung(silences, stopped, None))  # now, since the store may not answer
        self._report(errors.stage_hung(silences, stopped, stack_dumps.upload(files)))
        return StageHung.exit_code

    def _kill_all(self) -> None:
        for process in self.alive:
            processes.kill(process.pid)
        self.alive.clear()

    def _conclude(self, unstopped: Sequence[int], *, killed_by_kernel: bool) -> int:
        """Exit code and termination message of the container."""
        end = cause(self.ends)
        if end is None and unstopped:
            self._report(errors.unstopped(unstopped, self.told.grace))
            return Interrupted.exit_code
        if end is None:
            self._pass_on(sorted(self.messages))
            return 0
        if end.code == KILLED and killed_by_kernel:
            self._report(errors.killed_by_kernel(end.rank, os.environ["SER_STAGE"]))
            return OutOfMemory.exit_code
        # One that was killed has left nothing, and the kubelet's own reason tells most. The first process knows the newest checkpoint.
        interrupted = sorted(one.rank for one in self.ends if one.code == Interrupted.exit_code)
        self._pass_on(interrupted if end.code == Interrupted.exit_code else [end.rank])
        return end.code

    def _pass_on(self, ranks: Sequence[int]) -> None:
        """Make the message of the first of ``ranks`` that has left one the container's."""
        left = [self.messages[rank] for rank in ranks if self.messages[rank].exists()]
        target = os.environ.get(TERMINATION_MESSAGE)
        if left and target is not None:
            Path(target).write_bytes(left[0].read_bytes())

    def _report(self, error: SERError) -> None:
        outcome = "interrupted" if isinstance(error, Interrupted) else "failed"
        result = {"outcome": outcome, "reason": error.reason, "message": error.message[:900], "hint": (error.hint or "")[:300]}
        _say("failed", **{key: result[key] for key in ("reason", "message", "hint")})
        if target := os.environ.get(TERMINATION_MESSAGE):
            Path(target).write_text(json.dumps(result), encoding="utf-8")


def _say(name: str, **fields: Any) -> None:
    moment = time.time()
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}+00:00"
    print(json.dumps({"time": text, "event": name, **fields}, ensure_ascii=False), flush=True)


def main() -> int:
    """Run the stage that the environment describes, to its end."""
    told = supervision.from_environment(os.environ)
    stop = _Stop(time.monotonic() + told.budget)
    bell = stop.install()
    # A process that was just killed may still write: what is left goes with the pod.
    with tempfile.TemporaryDirectory(prefix="supervisor-", dir=os.environ.get("SER_WORKDIR"), ignore_cleanup_errors=True) as folder:
        return _Supervisor(told, sys.argv[1:], Path(folder), stop, bell).run()
