"""Stage pods that are forked from one process, whose imports they share (`warm.server`)."""

import contextlib
import os
import signal

from controlplane.kubelet.containers import Outcome, StartedPod, outcome_of
from controlplane.plane.watchdog import Watchdog
from warm.process import WarmProcess
from warm.server_process import WarmServer

STAGES = ("python", "-m", "ser_jobs.supervisor")
_SERVER = WarmServer("ser_jobs.supervisor.supervisor")


class WarmContainer:
    """A stage's supervisor in a session of its own, forked instead of started."""

    def __init__(self, pod: StartedPod, watchdog: Watchdog) -> None:
        self._pod = pod
        self._watchdog = watchdog
        self._process: WarmProcess | None = None

    def start(self) -> None:
        pod = self._pod
        with pod.log.open("ab") as log:
            self._process = _SERVER.start(pod.command[len(STAGES) :], pod.environment, pod.folder, log)
        self._watchdog.add(self._process.pid)

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self) -> Outcome:
        process = self._process
        assert process is not None
        code = process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self._watchdog.remove(process.pid)
        return outcome_of(self._pod, code)
