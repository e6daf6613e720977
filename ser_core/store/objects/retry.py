"""Retrying until a deadline. An SDK alone gives up after 0.1 to 3 seconds; a store that restarts needs minutes."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

from ser_core.errors import StoreError

Answer = TypeVar("Answer")


class Transient(Exception):
    """An operation failed in a way that may pass. ``args[0]`` says how."""


@dataclass(slots=True)
class Silence:
    """Operations that share it wait for their store together, once: after one has given up, the others fail like it, at once."""

    since: float | None = None
    """When the store was first asked in vain; None: it has answered since."""
    gave_up: StoreError | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Full-jitter exponential backoff below an outer deadline. Clock, sleep and chance are arguments so that tests need no time."""

    deadline_seconds: float = 300.0
    """From the first try to the last; then the operation has failed."""
    base_seconds: float = 0.2
    cap_seconds: float = 20.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform
    retried: Callable[[], None] = lambda: None
    """Told before each further try, in the thread of the caller."""
    silence: Silence | None = None
    """Shared with other operations; None: each waits for itself."""

    @property
    def try_seconds(self) -> float:
        """How long one try may hear nothing, so that a silent server is tried twice before the deadline."""
        return min(60.0, max(5.0, self.deadline_seconds / 2))

    def call(self, operation: Callable[[], Answer], what: str) -> Answer:
        """Call ``operation`` until it does not raise `Transient`.

        Raises:
            StoreError: It still failed at the deadline; the message names ``what``, the tries, the time and the last failure.
        """
        silence, tries = self.silence or Silence(), 0
        if silence.gave_up is not None:
            raise silence.gave_up
        while True:
            tries += 1
            started = silence.since = self.clock() if silence.since is None else silence.since
            answered = True
            try:
                return operation()
            except Transient as failure:
                answered = False
                pause = self.uniform(0, min(self.cap_seconds, self.base_seconds * 2 ** min(tries, 30)))
                elapsed = self.clock() - started
                if elapsed + pause > self.deadline_seconds:
                    silence.gave_up = StoreError(
                        f"{what} failed {tries} times in {elapsed:.0f} s: {failure}",
                        reason="StoreUnavailable",
                        hint="check that the store is reachable and healthy; a run continues where it stopped",
                    )
                    raise silence.gave_up from failure
                self.retried()
                self.sleep(pause)
            finally:
                if answered:
                    silence.since = None


def bounded(read: Callable[[], Answer], allowed: Callable[[], float]) -> Answer:
    """What ``read`` returns, if it does within ``allowed()`` seconds of now; what is allowed may grow meanwhile.

    A socket's own timeout counts the silence between two bytes, so a body that comes byte by byte never meets it. Reads alone may be given
    up like this: a write that goes on unseen could come after a later one.

    Raises:
        Transient: It takes longer.
    """
    done: Future[Answer] = Future()

    def run() -> None:
        try:
            done.set_result(read())
        except BaseException as error:
            done.set_exception(error)

    started = time.monotonic()
    threading.Thread(target=run, daemon=True).start()
    while (left := started + allowed() - time.monotonic()) > 0:
        if wait([done], left).done:
            return done.result()
    raise Transient("the body of the answer comes too slowly")
