"""Ports for servers that a test starts later or elsewhere."""

import random
import socket

_RANGE = range(10_000, 29_000)
"""Below the ports where gangs meet, and those that the kernel gives to outgoing connections and to servers that ask for any."""


def free_port(following: int = 0) -> int:
    """A port of this machine that nothing uses, nor any of the ``following`` after it; this process holds them as long as it lives.

    A server that allows the reuse of addresses, as all of them here do, may listen there; no other process is given it.

    Raises:
        OSError: A hundred tries found none.
    """
    for _ in range(100):
        first = random.choice(_RANGE)
        if all(_held(port) for port in range(first, first + following + 1)):
            return first
    raise OSError(f"no {following + 1} ports in a row are free between {_RANGE.start} and {_RANGE.stop}")


def free_ports(count: int) -> list[int]:
    """As many such ports."""
    return [free_port() for _ in range(count)]


def _held(port: int) -> bool:
    holder = socket.socket()
    try:
        holder.bind(("", port))
    except OSError:
        holder.close()
        return False
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.detach()  # open until the process ends, and bound, but not listening
    return True
