"""A warm parent of stage processes: imports torch once, then forks one process per stage.

Speaks JSON lines. In: ``{"start": id, "environment": {…}, "output": path}`` and ``{"stop": id}``. Out: ``{"ready": true}``,
``{"started": id, "pid": n}``, ``{"ended": id, "exitCode": n}``. End of input stops every stage with SIGTERM, then the server ends.

Forking is safe here because the server itself never computes: it has one thread, and neither OpenMP nor CUDA is started before the fork.
"""

import ctypes
import importlib
import json
import os
import selectors
import signal
import sys
from typing import Any

from ser_core.errors import Interrupted
from ser_jobs.process import runtime

PRELOADED = (
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.modeling_utils",  # imports what every model file needs, which would take every stage 2 to 3 seconds
    "transformers.modeling_layers",
    "transformers.generation.utils",
    "ser_jobs.stages.prepare",
    "ser_jobs.stages.retrain",
)
_PR_SET_PDEATHSIG = 1
_STOP = {signal.SIGTERM}


def main() -> int:
    """Serve until the end of standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)  # a stage ignores nothing, so a stop waits until the fork is done
    for module in PRELOADED:
        importlib.import_module(module)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, str] = {}
    _say({"ready": True})
    requests = _Lines(sys.stdin.fileno())
    with selectors.DefaultSelector() as selector:
        selector.register(requests.descriptor, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while not requests.ended or children:
            for key, _ in selector.select():
                if key.fd == wake_read:
                    os.read(wake_read, 4096)
                    continue
                for request in requests.read():
                    _serve(request, children)
                if requests.ended:
                    selector.unregister(requests.descriptor)
                    _terminate(children, None)
            _reap(children)
    return 0


class _Lines:
    """Complete lines of a descriptor, read without Python's buffering: `select` does not see buffered lines."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.ended = False
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        chunk = os.read(self.descriptor, 1 << 20)
        self.ended = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines if line]


def _serve(request: dict[str, Any], children: dict[int, str]) -> None:
    if "stop" in request:
        _terminate(children, request["stop"])
        return
    sys.stdout.flush()
    server = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:  # too many processes, or too little memory, which may pass: the attempt counts as taken away
        print(f"{request['start']} was not forked: {error.strerror}", file=sys.stderr, flush=True)
        _say({"ended": request["start"], "exitCode": Interrupted.exit_code})
        return
    if pid == 0:
        _become_stage(server, request["environment"], request["output"])
    children[pid] = request["start"]
    _say({"started": request["start"], "pid": pid})


def _become_stage(server: int, environment: dict[str, str], output: str) -> None:
    exit_code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # if the server is killed, its stages end, too
        if os.getppid() != server:
            os.kill(os.getpid(), signal.SIGKILL)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(0)
        os.environ.update(environment)
        exit_code = runtime.main()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(exit_code)


def _terminate(children: dict[int, str], name: str | None) -> None:
    for pid, started in children.items():
        if name in (None, started):
            os.kill(pid, signal.SIGTERM)


def _reap(children: dict[int, str]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        _say({"ended": children.pop(pid), "exitCode": code if code >= 0 else 128 - code})


def _say(message: dict[str, Any]) -> None:
    try:
        os.write(1, f"\n{json.dumps(message)}\n".encode())  # a library may have printed words without the end of their line
    except BrokenPipeError:
        return  # the executor is gone; end of input follows
