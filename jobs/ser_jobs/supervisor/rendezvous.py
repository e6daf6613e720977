"""The pods of a gang wait for each other before any of them computes, so that a gang of which only a part was scheduled gives up its GPUs.

Pod 0 listens; each other one says which run, attempt and pod it is, and is told to go once all are there.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_LINE = 512
_PAUSE = 0.5
"""Seconds between two tries: the name of pod 0 is known only some time after it has started."""
_GO = b"go\n"


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where and how a gang meets.

    Attributes:
        gang: Tells this attempt's pods from all others; no spaces.
        index: Number of this pod.
        pods: How many there are.
        host: Name or address of pod 0.
        port: Where it listens.
        seconds: How long to wait at most.
    """

    gang: str
    index: int
    pods: int
    host: str
    port: int
    seconds: float


def meet(meeting: Meeting, listen_on: str, stopping: Callable[[], bool]) -> list[int]:
    """Wait until all pods are there.

    Args:
        meeting: Of which gang.
        listen_on: Pod 0's own address; empty: all.
        stopping: Whether to give up.

    Returns:
        The pods that did not come; empty: all are there. A pod other than 0 can only tell that pod 0 has not let it go.
    """
    deadline = time.monotonic() + meeting.seconds

    def goes_on() -> bool:
        return time.monotonic() < deadline and not stopping()

    return _gather(meeting, listen_on, goes_on) if meeting.index == 0 else _join(meeting, goes_on)


def _gather(meeting: Meeting, listen_on: str, goes_on: Callable[[], bool]) -> list[int]:
    missing = set(range(1, meeting.pods))
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        family = socket.AF_INET6 if ":" in listen_on else socket.AF_INET
        server = stack.enter_context(socket.create_server((listen_on, meeting.port), family=family))
        server.setblocking(False)
        selector.register(server, selectors.EVENT_READ)
        peers = []
        while missing and goes_on():
            for key, _ in selector.select(_PAUSE):
                if key.fileobj is server:
                    peer = stack.enter_context(server.accept()[0])
                    peer.setblocking(False)
                    selector.register(peer, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    selector.unregister(key.fileobj)
                    index = _index(meeting, key.fileobj)
                    if index is not None:
                        missing.discard(index)
                        peers.append(key.fileobj)
        if not missing:
            for peer in peers:
                with contextlib.suppress(OSError):  # one that is gone again fails by itself
                    peer.sendall(_GO)
    return sorted(missing)


def _index(meeting: Meeting, peer: socket.socket) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        gang, index = peer.recv(_LINE).decode().split()
        if gang == meeting.gang and 0 < int(index) < meeting.pods:
            return int(index)
    return None


def _join(meeting: Meeting, goes_on: Callable[[], bool]) -> list[int]:
    for _ in _while(goes_on):
        with contextlib.suppress(OSError), socket.create_connection((meeting.host, meeting.port), timeout=_PAUSE) as leader:
            leader.sendall(f"{meeting.gang} {meeting.index}\n".encode())
            answer = _wait_for_answer(leader, goes_on)
            if answer == _GO:
                return []
        time.sleep(_PAUSE)
    return [0]


def _wait_for_answer(leader: socket.socket, goes_on: Callable[[], bool]) -> bytes:
    for _ in _while(goes_on):
        with contextlib.suppress(TimeoutError):
            return leader.recv(len(_GO))
    return b""


def _while(goes_on: Callable[[], bool]) -> Iterator[None]:
    while goes_on():
        yield
