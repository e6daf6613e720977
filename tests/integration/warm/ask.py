"""`ask.py SOCKET` stands for ``python -m ser_jobs.fork_server``: `server.py` makes one of this environment and these streams."""

import json
import os
import socket
import sys

STREAMS = (0, 1, 2)


def main(path: str) -> int:
    """Ask, and wait for its end; returns its exit code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
        asked.connect(path)
        socket.send_fds(asked, [json.dumps(dict(os.environ)).encode()], STREAMS)
        for stream in STREAMS:
            os.close(stream)
        return (asked.recv(1) or b"\1")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
