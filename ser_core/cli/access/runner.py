"""Who carries a run out on some machine, by its lock in the store: to hold it, and to see whether its holder lives."""

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_core.errors import ObjectNotFound, SERError, StoreError
from ser_core.loop.text import lasting
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.run_lock import BEAT_SECONDS, STALE_SECONDS, Holder, Process, RunLock, lock_key, read_holder

_POLL_SECONDS = 0.5
_DEAD = "ZX"
"""States of processes that have ended and were not collected yet."""
_STATE, _STARTED = 0, 19
"""Fields of /proc/PID/stat behind the name."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A lock as somebody looks at it."""

    host: str
    number: int | None
    """Of the process `ser run` there, where it is known."""
    alive: bool
    silent_seconds: float
    """Since its holder wrote last."""
    here: bool
    """Whether its processes were looked at, which needs no waiting."""

    @property
    def told(self) -> str:
        """Who it is, for people."""
        process = "" if self.number is None else f", process {self.number}"
        return f"ser run on {self.host}{process}, last seen {lasting(self.silent_seconds)} ago"


def look(store: ObjectStore, namespace: str, name: str) -> Seen | None:
    """Who carries a run out, or did without ending it; None: nobody holds its lock."""
    key = lock_key(namespace, name)
    holder = read_holder(store, key)
    try:
        return None if holder is None else seen(holder, this_process(), store.age(key), is_alive)
    except ObjectNotFound:
        return None


def seen(holder: Holder, own: Holder, silent_seconds: float, alive: Callable[[Process], bool]) -> Seen:
    """Whether a holder lives. Where its processes can be looked at they tell it, elsewhere its silence does."""
    here = bool(holder.processes) and holder.place == own.place != "" and own.user in (0, holder.user)
    lives = any(alive(process) for process in holder.processes) if here else silent_seconds <= STALE_SECONDS
    number = holder.processes[0].number if holder.processes else None
    return Seen(holder.host, number, lives, silent_seconds, here)


def is_alive(process: Process) -> bool:
    """Whether a process of this machine still runs."""
    fields = _fields(process.number)
    return fields is not None and fields[_STATE] not in _DEAD and int(fields[_STARTED]) == process.started


def this_process() -> Holder:
    """This process as the holder of a lock."""
    return Holder(token=uuid.uuid4().hex, host=socket.gethostname(), place=_place(), user=os.getuid(), processes=_process(os.getpid()))


class Held:
    """The lock of a run while this process holds it. A thread renews it.

    Args:
        lock: Which lock.
        own: Its holder.
        again: What the user types to go on, for the hint.
    """

    def __init__(self, lock: RunLock, own: Holder, again: str) -> None:
        self._lock = lock
        self._own = own
        self._again = again
        self._numbers: set[int] = set()
        self._lost_to: Holder | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Held":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        with contextlib.suppress(StoreError):  # a lock that stays is taken over
            self._lock.release(self._own)

    def keep(self, numbers: Collection[int]) -> None:
        """Go on holding the lock.

        Args:
            numbers: Processes that may outlive this one: nobody takes the lock before they have ended too.

        Raises:
            SERError: Another `ser run` has taken the lock over (reason `LockLost`).
        """
        if self._lost_to is not None:
            raise SERError(
                f"ser run on {self._lost_to.host} has taken the run over, since this one was not seen for {STALE_SECONDS:.0f} s",
                reason="LockLost",
                hint=f"nothing is lost; to go on here, end the other one first: {self._again}",
            )
        if set(numbers) != self._numbers:
            self._numbers = set(numbers)
            processes = (number for one in (os.getpid(), *numbers) for number in _process(one))
            self._own = self._own.model_copy(update={"processes": tuple(processes)})
            self._renew()

    def _beat(self) -> None:
        while self._lost_to is None and not self._over.wait(BEAT_SECONDS):
            self._renew()

    def _renew(self) -> None:
        with contextlib.suppress(StoreError):  # the run waits for the store, and so does its lock
            self._lost_to = self._lock.renew(self._own)


@contextlib.contextmanager
def locked(store: ObjectStore, at_once: ObjectStore, namespace: str, name: str, warn: Callable[[str], None], again: str) -> Iterator[Held]:
    """Hold the lock of a run; wait while another `ser run` works on it or its processes are still ending.

    Args:
        store: That of the run.
        at_once: The same with a short deadline, for the time in which the run is carried out.
        namespace: Of the run.
        name: Of the run.
        warn: Told once of the one that is waited for.
        again: What the user types to go on.
    """
    own = this_process()
    _take(RunLock(store, namespace, name), own, store.uri(f"{namespace}/{name}"), warn)
    with Held(RunLock(at_once, namespace, name), own, again) as held:
        yield held


def _take(lock: RunLock, own: Holder, run: str, warn: Callable[[str], None]) -> None:
    told = False
    while (holder := lock.take(own)) is not None:
        other = seen(holder, own, lock.silent_seconds(), is_alive)
        if not other.alive and lock.take_over(holder, own):
            return
        if other.alive and not told:
            dead = "" if other.here else f" (or taking over {STALE_SECONDS:.0f} s after its last sign)"
            warn(f"another {other.told}, is working on {run} or ending; waiting for it{dead}")
            told = True
        time.sleep(_POLL_SECONDS if other.here else BEAT_SECONDS / 2)


def _place() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _process(number: int) -> tuple[Process, ...]:
    fields = _fields(number)
    return () if fields is None else (Process(number=number, started=int(fields[_STARTED])),)


def _fields(number: int) -> list[str] | None:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
