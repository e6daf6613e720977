"""`ask.py SOCKET WORDS…` stands for a program that takes long to import: `server.py` makes one of these words, environment and streams."""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

STREAMS = (0, 1, 2)


def ask(path: str, arguments: Sequence[str], environment: Mapping[str, str], folder: str, streams: Sequence[int]) -> socket.socket:
    """Ask for a process; the connection is sent its process id, and its exit code when it ends."""
    asked = {"arguments": arguments, "environment": dict(environment), "folder": folder}
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    socket.send_fds(connection, [json.dumps(asked).encode()], streams)
    return connection


def main(path: str, *arguments: str) -> int:
    """Ask, and wait for its end; returns its exit code."""
    with ask(path, arguments, os.environ, str(Path.cwd()), STREAMS) as connection:
        for stream in STREAMS:
            os.close(stream)
        connection.recv(100)
        return int(connection.recv(100) or 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
