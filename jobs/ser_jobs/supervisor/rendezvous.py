"""The pods of a gang wait for each other before any of them computes. If only some of them are scheduled, they give up their GPUs.

Pod 0 listens. Every other pod connects and sends its run, its attempt and its number. Once all pods have connected, pod 0 answers "go".
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_LINE = 512
_PAUSE = 0.5
"""Seconds between two tries. Several are needed, because DNS knows pod 0 only some time after its start."""
_GO = b"go\n"


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where and how a gang meets.

    Attributes:
        gang: Name of this attempt; no other attempt has it. No spaces.
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
        meeting: Where and how the gang meets.
        listen_on: Address on which pod 0 listens; empty: all of its addresses.
        stopping: Whether to give up.

    Returns:
        Numbers of the missing pods; empty: all pods are there. A pod other than 0 knows only whether pod 0 answered: [] or [0].
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
                    if index is None:
                        key.fileobj.close()  # a pod of the gang whose line was cut comes again
                    else:
                        missing.discard(index)
                        peers.append(key.fileobj)
        if not missing:
            for peer in peers:
                with contextlib.suppress(OSError):  # a pod that is gone reports its failure itself
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
