"""One parent of the fork servers of many `ser run`s: what a fork server imports costs more than a tiny stage, and is imported here once.

`server.py SOCKET` listens until its input ends. `ask.py` sends its environment and its three standard streams there; a forked child takes
them and is `ser_jobs.fork_server`, as shipped, from then on.
"""

import contextlib
import importlib
import json
import os
import selectors
import socket
import sys
from typing import NoReturn

from ser_jobs.process import fork_server

LONGEST = 1 << 20
"""Bytes of an environment."""


def main(path: str) -> None:
    """Serve until the end of standard input."""
    for module in fork_server.PRELOADED:
        importlib.import_module(module)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(64)
        print("listening", flush=True)
        for source in (listener, sys.stdin):
            selector.register(source, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in selector.select()):
            asker, _ = listener.accept()
            with asker:
                _serve(asker)
            _reap()


def _serve(asker: socket.socket) -> None:
    environment, streams, *_ = socket.recv_fds(asker, LONGEST, 3)
    if os.fork() == 0:
        _become_server(asker, json.loads(environment), streams)
    for stream in streams:
        os.close(stream)


def _become_server(asker: socket.socket, environment: dict[str, str], streams: list[int]) -> NoReturn:
    exit_code = 1
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(environment)
        exit_code = fork_server.main()
        asker.send(bytes([exit_code]))
    finally:
        os._exit(exit_code)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(sys.argv[1])
