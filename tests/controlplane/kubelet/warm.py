"""Stage pods that are forked from one process, whose imports they share (`warm_server.py`)."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from controlplane.kubelet.containers import Outcome, StartedPod, outcome_of
from controlplane.plane.watchdog import Watchdog
from ser_core.cli.access.local_executor import SERVER_ENVIRONMENT

STAGES = ("python", "-m", "ser_jobs.supervisor")
_SERVER = Path(__file__).with_name("warm_server.py")


class WarmServer:
    """The process that pods are forked from. It is started with the first pod."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self) -> socket.socket:
        """A connection for one pod."""
        with self._lock:
            if self._process is None:
                self._folder = tempfile.mkdtemp(prefix="ser-warm-")  # a folder of pytest's may have too long a name for a socket
                command = [sys.executable, "-P", str(_SERVER), self._socket]
                environment = SERVER_ENVIRONMENT | os.environ | {"OMP_NUM_THREADS": "1"}
                self._process = subprocess.Popen(
                    command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
                )
                assert self._process.stdout is not None
                assert b"listening\n" in iter(self._process.stdout.readline, b"")  # libraries have their say before
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self._socket)
        return connection

    def close(self) -> None:
        """End it; its pods have ended."""
        if self._process is not None:
            self._process.communicate()
            shutil.rmtree(self._folder)

    @property
    def _socket(self) -> str:
        return f"{self._folder}/socket"


class WarmContainer:
    """A stage's supervisor in a session of its own, forked instead of started."""

    def __init__(self, pod: StartedPod, server: WarmServer, watchdog: Watchdog) -> None:
        self._pod = pod
        self._server = server
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._pid: int | None = None

    def start(self) -> None:
        pod = self._pod
        self._connection = self._server.connect()
        asked = {"arguments": pod.command[len(STAGES) :], "environment": dict(pod.environment), "folder": str(pod.folder)}
        with pod.log.open("ab") as log:
            socket.send_fds(self._connection, [json.dumps(asked).encode()], [log.fileno()])
        self._pid = int(self._connection.recv(100))
        self._watchdog.add(self._pid)

    def signal(self, number: int) -> None:
        with self._lock:
            if self._pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, number)

    def wait(self) -> Outcome:
        pid = self._pid
        assert pid is not None
        with self._connection:
            code = int(self._connection.recv(100))
        with self._lock:
            self._pid = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self._watchdog.remove(pid)
        return outcome_of(self._pod, code)
