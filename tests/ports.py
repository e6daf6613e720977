"""Ports for servers that a test starts later or elsewhere."""

import random
import socket

_RANGE = range(10_000, 30_000)
"""Below the ports that the kernel gives to outgoing connections and to servers that ask for any: nobody takes one in the meantime."""


def free_port(following: int = 0) -> int:
    """A port of this machine that nothing uses at this moment, nor any of the ``following`` after it.

    Raises:
        OSError: A hundred tries found none.
    """
    for _ in range(100):
        first = random.choice(_RANGE)
        if all(_is_free(port) for port in range(first, first + following + 1)):
            return first
    raise OSError(f"no {following + 1} ports in a row are free between {_RANGE.start} and {_RANGE.stop}")


def free_ports(count: int) -> list[int]:
    """As many such ports, all different."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
