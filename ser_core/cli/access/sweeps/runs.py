"""The runs of a sweep where they are carried out: as processes of `ser run` on this machine, or as SERRuns on a cluster."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ser_core.api.serrun import SERRun
from ser_core.api.status import Phase
from ser_core.cli.access.begun_run import begun_run, is_over
from ser_core.cli.access.cluster import Cluster
from ser_core.cli.access.local_executor import PYTHON
from ser_core.cli.access.serrun_file import read_serrun
from ser_core.cli.access.stored_run import SOON
from ser_core.errors import SERError, SpecError
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import load_run

SWEEP = "ser.dev/sweep"
"""Label of the SERRuns of one sweep: the name in its file."""
_POLL_SECONDS = 0.1
UNSEEN_SECONDS = 60.0
"""How long a run on a cluster may be without an operator's answer before that is told."""
_HELD_UP = frozenset({Phase.QUEUED, Phase.WAITING, Phase.SUSPENDED, Phase.BUDGET_EXCEEDED})
STARTED, GOES_ON, HAD_ENDED = "started", "goes on", "had ended before"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    number: int
    told: str
    """The phase, or the exit code and where the log is."""
    exit_code: int


class SweepRuns(Protocol):
    """Where runs are carried out."""

    def begun(self, wanted: SERRun) -> SERRun | None:
        """The run of this name as it stands there; None: it has not begun."""

    def start(self, number: int, name: str, file: Path, document: Mapping[str, Any]) -> str:
        """Begin a run, or go on with it; returns what is done with it, for people."""

    def ended(self) -> list[Ended]:
        """The runs that have ended since the last call."""

    def held_up(self) -> list[tuple[int, str]]:
        """The runs that by the last `ended` have begun to wait or have gone on, and what is to be told of each."""

    def stop(self, received: Sequence[int]) -> None:
        """The sweep is over, by these signals; more of them may come meanwhile."""


@dataclass
class LocalRuns:
    """Processes of `ser run`, each on its share of the processors, with a log beside its file."""

    parallel: int
    _live: dict[int, tuple[subprocess.Popen[bytes], Path]] = field(default_factory=dict)

    def begun(self, wanted: SERRun) -> SERRun | None:
        """The run of this name in its store."""
        return load_run(connect(wanted.spec.storage, SOON), wanted.metadata.namespace, wanted.metadata.name)

    def start(self, number: int, name: str, file: Path, document: Mapping[str, Any]) -> str:
        """Begin or continue a run. Shares are equal, since the number of threads is part of what results depend on."""
        begins = _what_is_done_with(file)
        log = file.with_suffix(".log")
        mine = os.sched_getaffinity(0)
        with log.open("wb") as output:
            os.sched_setaffinity(0, self._share(sorted(mine)))
            try:
                # A session of its own: Ctrl-C at the terminal then comes once, from here.
                command = [*PYTHON, "-m", "ser_core.cli.app", "run", str(file), "--json"]
                process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            finally:
                os.sched_setaffinity(0, mine)
        self._live[number] = (process, log)
        return begins

    def _share(self, processors: list[int]) -> set[int]:
        taken: list[set[int]] = [os.sched_getaffinity(process.pid) for process, _ in self._live.values() if process.poll() is None]
        size = max(1, len(processors) // self.parallel)
        shares = [set(processors[first : first + size]) for first in range(0, size * self.parallel, size)]
        return next((share for share in shares if share not in taken), shares[0])

    def ended(self) -> list[Ended]:
        """The processes that have ended since the last call."""
        found = [(number, process.poll(), log) for number, (process, log) in self._live.items()]
        over = [(number, code, log) for number, code, log in found if code is not None]
        for number, _, _ in over:
            del self._live[number]
        return [Ended(number, "Completed" if code == 0 else f"exit code {code}, see {log}", code) for number, code, log in over]

    def held_up(self) -> list[tuple[int, str]]:
        """None: what they wait for is in their logs."""
        return []

    def stop(self, received: Sequence[int]) -> None:
        """Pass the signals on and wait: the runs save checkpoints, and end at once on a second one."""
        passed_on = 0
        while any(process.poll() is None for process, _ in self._live.values()):
            for number in received[passed_on:]:
                passed_on += 1
                for process, _ in self._live.values():
                    process.send_signal(signal.Signals(number))
            time.sleep(_POLL_SECONDS)


def _what_is_done_with(file: Path) -> str:
    try:
        wanted = read_serrun(file)
        run = begun_run(connect(wanted.spec.storage, SOON), wanted, file)
    except SERError:  # ser run will say it
        return STARTED
    return STARTED if run is None else HAD_ENDED if is_over(run) else GOES_ON


@dataclass
class ClusterRuns:
    """SERRuns with one label."""

    cluster: Cluster
    sweep: str
    templates: Mapping[str, Any]
    """Specs of the file's templates by name: until the operator has copied its own, a run is compared with these."""
    _live: dict[int, str] = field(default_factory=dict)
    _begun: dict[int, float] = field(default_factory=dict)
    _held_up: dict[int, str] = field(default_factory=dict)
    """Why the runs wait that were told to."""
    _news: list[tuple[int, str]] = field(default_factory=list)

    def begun(self, wanted: SERRun) -> SERRun | None:
        """The SERRun of this name.

        Raises:
            SpecError: It is not of this sweep (``RunExists``), or would have to take more loops (``ImmutableField``): it is changed in the
                cluster alone.
        """
        name = wanted.metadata.name
        label = self.cluster.label(name, SWEEP)
        if label not in (None, self.sweep):
            raise SpecError(
                f"namespace {self.cluster.namespace} holds a run {name!r} that is not of this sweep",
                reason="RunExists",
                hint="write another metadata.name into the file",
            )
        if label is None:
            return None
        run = self.cluster.run(name, self.templates)
        if wanted.spec.loop.max_iterations > run.spec.loop.max_iterations:
            asked = f'{{"spec":{{"loop":{{"maxIterations":{wanted.spec.loop.max_iterations}}}}}}}'
            raise SpecError(
                f"{name} has begun with spec.loop.maxIterations {run.spec.loop.max_iterations}",
                reason="ImmutableField",
                hint=f"raise it there: kubectl patch serrun {name} -n {self.cluster.namespace} --type merge -p '{asked}'",
            )
        return run

    def start(self, number: int, name: str, file: Path, document: Mapping[str, Any]) -> str:
        """Create the SERRun, unless it is there from an earlier call.

        Raises:
            SpecError: Admission says no (``RefusedByServer``).
        """
        label = self.cluster.label(name, SWEEP)
        if label is None:
            metadata = document["metadata"]
            self.cluster.create({**document, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), SWEEP: self.sweep}}})
        self._live[number], self._begun[number] = name, time.monotonic()
        return STARTED if label is None else HAD_ENDED if self.cluster.run(name).status.has_ended else GOES_ON

    def ended(self) -> list[Ended]:
        """The runs that have ended since the last call."""
        found = []
        seen = [(number, self._look(name)) for number, name in self._live.items()]  # none is forgotten if the cluster does not answer
        for number, run in seen:
            if isinstance(run, SpecError):
                found.append(Ended(number, run.message, run.exit_code))
                continue
            self._watch(number, run)
            status, well = run.status, run.status.phase is Phase.COMPLETED
            if status.has_ended:
                found.append(Ended(number, status.phase.value if well else f"{status.phase.value}: {status.message}", 0 if well else 1))
        for one in found:
            del self._live[one.number]
        return found

    def _look(self, name: str) -> SERRun | SpecError:
        """The run, or why none can end: somebody has deleted it, or it cannot be read."""
        try:
            return self.cluster.run(name)
        except SpecError as error:
            return error

    def _watch(self, number: int, run: SERRun) -> None:
        before, (why, told) = self._held_up.pop(number, ""), self._why_it_waits(number, run)
        if why:
            self._held_up[number] = why
        if why and why != before:
            self._news.append((number, told))
        elif before and not why and not run.status.has_ended:
            self._news.append((number, GOES_ON))

    def _why_it_waits(self, number: int, run: SERRun) -> tuple[str, str]:
        """Reason, and what to tell; both empty: it does not wait."""
        status = run.status
        if status.phase in _HELD_UP:
            reason = next((one.reason for one in status.conditions if one.type == "Ready"), "")
            return reason, f"{status.phase.value}: {status.message}"
        if not status.observed_generation and time.monotonic() - self._begun[number] >= UNSEEN_SECONDS:
            return "Unseen", f"no operator has looked at it yet: ser why {run.metadata.name} -n {run.metadata.namespace}"
        return "", ""

    def held_up(self) -> list[tuple[int, str]]:
        """Once for each reason: the message of one may change with every look."""
        news, self._news = self._news, []
        return news

    def stop(self, received: Sequence[int]) -> None:
        """The runs go on: they belong to the cluster."""
