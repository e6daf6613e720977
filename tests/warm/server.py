"""One parent of many processes: what a stage imports costs more than a tiny stage, and is imported here once.

`server.py PROGRAM SOCKET` listens until its input ends; PROGRAM is one of `IMPORTED`. A connection sends arguments, environment, folder and
three standard streams; a forked child takes them and is the program, as shipped, from then on. The connection is told the child's process
id, and later how it ended. Process ids, groups and signals are those of a program that is started.
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
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from ser_jobs.process.fork_server import PRELOADED

LONGEST = 1 << 20
"""Bytes of what is asked."""
STAGE_COMMAND = ("-m", "ser_jobs.runtime")
SUPERVISOR = "ser_jobs.supervisor.supervisor"
IMPORTED = {
    SUPERVISOR: (*PRELOADED, "deepspeed", "peft"),
    "ser_jobs.process.fork_server": PRELOADED,
    "ser_operator.main": (),
}
"""What else each program imports."""


def main(program: str, path: str) -> None:
    """Serve until the end of standard input."""
    run = _imported(program)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(64)
        print("listening", flush=True)
        for source in (listener, sys.stdin, wake_read):
            selector.register(source, selectors.EVENT_READ)
        while sys.stdin not in (ready := [key.fileobj for key, _ in selector.select()]):
            if listener in ready:
                _start(run, listener, children)
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            _tell_ends(children)


def _imported(program: str) -> Callable[[], int]:
    """A program with all that it would import later."""
    for module in IMPORTED[program]:
        importlib.import_module(module)
    found: Callable[[], int] = importlib.import_module(program).main
    return _supervise if program == SUPERVISOR else found


def _start(run: Callable[[], int], listener: socket.socket, children: dict[int, socket.socket]) -> None:
    connection, _ = listener.accept()
    asked, streams, *_ = socket.recv_fds(connection, LONGEST, 3)
    if (pid := os.fork()) == 0:
        _become(run, streams, **json.loads(asked))
    for stream in streams:
        os.close(stream)
    children[pid] = connection
    connection.send(str(pid).encode())


def _tell_ends(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with children.pop(pid) as connection, contextlib.suppress(BrokenPipeError):
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(
    run: Callable[[], int], streams: Sequence[int], arguments: Sequence[str], environment: Mapping[str, str], folder: str
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        _be_started_with(arguments, environment)
        os.chdir(folder)
        code = run()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        _leave(code)


def _supervise() -> int:
    """Be the supervisor of a pod, but that a process of its stage is a fork of this one, where it would load Python anew."""
    from ser_jobs.supervisor import supervisor

    os.execve = _go_on_as_runtime  # type: ignore[assignment]
    return supervisor.main()


def _go_on_as_runtime(program: str, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """In the place of a new program."""
    from ser_jobs.process import runtime

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
    main(*sys.argv[1:])
