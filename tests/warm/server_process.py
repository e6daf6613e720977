"""The process that others are forked from (`server.py`), as a test starts it."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from ser_core.cli.access.local_executor import SERVER_ENVIRONMENT
from warm.ask import ask
from warm.process import WarmProcess

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


class WarmServer:
    """Forks processes of one program of this checkout. It is started when it is asked for the first time, and ends with this process.

    Args:
        program: One of those that `server.py` knows.
    """

    def __init__(self, program: str) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None

    def socket(self) -> str:
        """Where it listens."""
        with self._lock:
            if self._process is None:
                self._start()
        return self._socket

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, output: IO[bytes]) -> WarmProcess:
        """Start a process without input.

        Args:
            arguments: After the program.
            environment: All of its variables.
            folder: Where it works.
            output: The file that its standard output and error go to.
        """
        with Path(os.devnull).open("rb") as nothing:
            streams = nothing.fileno(), output.fileno(), output.fileno()
            return WarmProcess(ask(self.socket(), arguments, environment, str(folder), streams))

    @property
    def _socket(self) -> str:
        return f"{self._folder}/socket"

    def _start(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="ser-warm-")  # a folder of pytest's may have too long a name for a socket
        command = [sys.executable, "-P", str(FOLDER / "server.py"), self._program, self._socket]
        path = os.pathsep.join(str(ROOT / part) for part in ("", "jobs", "operator"))
        environment = SERVER_ENVIRONMENT | os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, env=environment, **pipes, start_new_session=True)
        assert self._process.stdout is not None
        assert b"listening\n" in iter(self._process.stdout.readline, b"")  # libraries have their say before
        atexit.register(self._end)

    def _end(self) -> None:
        assert self._process is not None
        self._process.communicate()
        shutil.rmtree(self._folder)
