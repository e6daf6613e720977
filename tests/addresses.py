"""Addresses of the loopback that a machine may lack."""

import socket

import pytest


def has_ipv6() -> bool:
    """Whether ``::1`` can be listened on."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
