"""The operator as a process of its own, as it is shipped, behind a fault proxy."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from warm.process import WarmProcess
from warm.server_process import WarmServer

ROOT = Path(__file__).parents[3]
IMAGE = "registry.example/ser@sha256:0123"
OPEN = '{"read": ["*"], "endpoints": ["*"]}'
"""Inputs lie in buckets, on a server of this machine."""
_IMPORTED = WarmServer("ser_operator.main")


class OperatorProcess:
    """`ser-operator`, which can be killed and started again.

    Args:
        kubeconfig: Its only way to the API server.
        namespace: The namespace that it watches.
        folder: For its log.
        code: The checkout whose code it is; None: this one's, forked from a process that has imported it.
        settings: Further `SER_OPERATOR_…` settings by lower-case name.
    """

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path, *, code: Path | None = None, **settings: object) -> None:
        self.log = folder / "operator.log"
        self._command = None if code is None else [sys.executable, "-m", "ser_operator.main"]
        code = code or ROOT
        knows = (code / "operator/ser_operator/allow.py").exists()  # version 0.1.0 has no such setting, and allowed as much
        given = {"image": IMAGE, "namespaces": namespace, "probe_port": 0, "events_after_seconds": 1, "progress_seconds": 2}
        given |= {**({"allow": OPEN} if knows else {}), **settings}
        self._environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(kubeconfig),
            "PYTHONSAFEPATH": "1",  # not the code of the folder that the tests run in
            "PYTHONPATH": os.pathsep.join(str(code / part) for part in ("", "jobs", "operator")),
            **{f"SER_OPERATOR_{name.upper()}": str(value) for name, value in given.items()},
        }
        self._folder = folder
        self._process: subprocess.Popen[bytes] | WarmProcess | None = None
        self.starts = 0

    def start(self) -> "OperatorProcess":
        """Start it; returns at once."""
        with self.log.open("ab") as log:
            if self._command is None:
                self._process = _IMPORTED.start((), self._environment, self._folder, log)
            else:
                self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True)
        self.starts += 1
        return self

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. May be called from the proxy's threads."""
        process = self._process
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def stop(self, seconds: float = 120) -> int | None:
        """SIGTERM; returns the exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(seconds)
        finally:
            self.kill()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def megabytes(self) -> float:
        """Its resident memory now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def most_megabytes(self) -> float:
        """The most that its resident memory has been."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024 / 1e6

    def restart_when_dead(self) -> bool:
        """What a Deployment does; True when it had to."""
        if self.running:
            return False
        self.start()
        return True

    def defects(self) -> list[str]:
        """What it, and any other operator with the same log, has logged as a defect of its own."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if ": a defect; again in" in line]

    def page(self, path: str) -> str:
        """One of its pages, for example ``/metrics``."""
        with urllib.request.urlopen(f"http://{self.address()}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def address(self, seconds: float = 60) -> str:
        """Host and port of its pages."""
        deadline = time.monotonic() + seconds
        while True:
            lines = [line for line in self.log.read_text().splitlines() if "probes and metrics on" in line]
            if lines:
                return lines[-1].split("probes and metrics on http://")[1].split('"')[0].split(",")[0]
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operator has not started: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)
