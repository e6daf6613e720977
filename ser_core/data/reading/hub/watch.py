"""Work that waits for a stranger is done in a thread of its own, and given up once too little comes."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_LOOKS_A_SECOND = 4


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer may take. It bounds the whole of it, whatever its size: silence, and the bytes that each window must bring."""

    silence: float = 60.0
    """Seconds without a byte: to find the host, to connect, for the headers, between two pieces."""
    window: float = 60.0
    """Seconds."""
    least: int = 1 << 20
    """Bytes that each window must bring, of an answer that is still not whole."""
    tries: int = 5
    """How often in a row the same is asked for while less than ``least`` comes."""
    first_wait: float = 1.0
    """Seconds before the second try; doubled each time, and at least as long as the hub asks for."""
    longest_wait: float = 300.0
    """Seconds between two tries at most; what asks for more is given up at once."""


PATIENCE = Patience()


class TooSlow(Exception):
    """Too little came."""


@dataclass(slots=True)
class Flow:
    """What the worker and its watcher tell each other."""

    received: int = 0
    """Bytes; the worker counts."""
    is_over: bool = False
    """Nobody waits any more: the worker, if it still wakes, must change nothing."""


def watched(work: Callable[[Flow], T], patience: Patience) -> T:
    """What ``work`` returns or raises, while bytes come.

    A read can be bounded from outside alone: a server that sends one byte in time, again and again, satisfies every time-out of a client.

    Raises:
        TooSlow: Nothing came for too long, or too little.
    """
    flow, outcome = Flow(), Future[T]()
    threading.Thread(target=_run, args=(work, flow, outcome), name="hub", daemon=True).start()
    try:
        _watch(flow, outcome, patience)
    finally:
        flow.is_over = True
    return outcome.result()


def _watch(flow: Flow, outcome: Future[T], patience: Patience) -> None:
    seen, heard, begun, before = 0, time.monotonic(), time.monotonic(), 0
    while not wait((outcome,), 1 / _LOOKS_A_SECOND).done:
        now, received = time.monotonic(), flow.received
        if received != seen:
            seen, heard = received, now
        if now - heard > patience.silence:
            raise TooSlow(f"sent nothing for {patience.silence:g} s")
        if now - begun > patience.window:
            if received - before < patience.least:
                raise TooSlow(f"sent {received - before} bytes in {patience.window:g} s, where at least {patience.least} must come")
            begun, before = now, received


def _run(work: Callable[[Flow], T], flow: Flow, outcome: Future[T]) -> None:
    try:
        outcome.set_result(work(flow))
    except BaseException as error:  # told to the thread that waits
        outcome.set_exception(error)
