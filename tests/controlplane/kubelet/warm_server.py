"""One parent of many stage pods: what a stage imports costs more than a tiny stage, and is imported here once.

`warm_server.py SOCKET` listens until its input ends. For each connection a forked child becomes the supervisor of a pod, as shipped; the
processes that it starts are forks of it that go on as `ser_jobs.runtime`, where those of a real pod load Python anew. Process ids, groups
and signals are those of a real pod. The connection is told the child's process id, and later how it ended.
"""

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import NoReturn

from ser_jobs.process import fork_server, runtime
from ser_jobs.supervisor import supervisor

LONGEST = 1 << 20
"""Bytes of what is asked."""
STAGE_COMMAND = ("-m", "ser_jobs.runtime")


def main(path: str) -> None:
    """Serve until the end of standard input."""
    for module in (*fork_server.PRELOADED, "deepspeed", "peft"):
        importlib.import_module(module)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pods: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(64)
        print("listening", flush=True)
        for source in (listener, sys.stdin, wake_read):
            selector.register(source, selectors.EVENT_READ)
        while sys.stdin not in (ready := [key.fileobj for key, _ in selector.select()]):
            if listener in ready:
                _start(listener, pods)
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            _tell_ends(pods)


def _start(listener: socket.socket, pods: dict[int, socket.socket]) -> None:
    connection, _ = listener.accept()
    asked, (log, *_), *_ = socket.recv_fds(connection, LONGEST, 1)
    if (pid := os.fork()) == 0:
        _become_supervisor(log, **json.loads(asked))
    os.close(log)
    pods[pid] = connection
    connection.send(str(pid).encode())


def _tell_ends(pods: dict[int, socket.socket]) -> None:
    while pods:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with pods.pop(pid) as connection, contextlib.suppress(BrokenPipeError):
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become_supervisor(log: int, arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(stream, number)
        _be_started_with(arguments, environment)
        os.chdir(folder)
        os.execve = _go_on_as_runtime  # type: ignore[assignment]
        code = supervisor.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        _leave(code)


def _go_on_as_runtime(program: str, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """In the place of a new program."""
    code = 1
    try:
        assert tuple(command[1:]) == STAGE_COMMAND, f"{program} is to run {command}"
        _be_started_with(command[1:], environment)
        code = runtime.main()
    finally:
        _leave(code)


def _be_started_with(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    sys.argv[1:] = arguments
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # asks the new environment
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))


def _leave(code: int) -> NoReturn:
    if error := sys.exception():
        sys.excepthook(type(error), error, error.__traceback__)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
