"""A keyed work queue with the semantics of client-go: a key never runs twice at once, and what comes while it runs makes it run again.

A failing key comes back after a pause that doubles; any other key is not held up by it. An urgent key is worked on before others: when
hundreds of runs change stages at once, what would let devices idle goes before what only changes a status.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 300.0


class WorkQueue(Generic[Key]):
    """Keys to work on.

    Args:
        clock: Seconds, monotonic.
        jitter: Between 0 and 1; spreads the pauses of keys that fail together.
    """

    def __init__(self, clock: Callable[[], float] | None = None, jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._jitter = jitter
        self._ready: asyncio.PriorityQueue[tuple[bool, int, Key]] = asyncio.PriorityQueue()
        self._entry: dict[Key, int] = {}
        """The one entry of a ready key that counts; one that became urgent has another behind it."""
        self._waiting: set[Key] = set()
        """Keys that are ready, or will be as soon as their run has ended."""
        self._urgent: set[Key] = set()
        self._running: set[Key] = set()
        self._delayed: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._due: dict[Key, float] = {}
        """The one delay of a key that counts; others on the heap are void."""
        self._since: dict[Key, float] = {}
        """When a key that is ready became so."""
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def hurries(self) -> bool:
        """Whether an urgent key waits."""
        return bool(self._urgent)

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Work on ``key`` soon; adding it again before that changes nothing, but for making it urgent."""
        if key in self._waiting and (not urgent or key in self._urgent):
            return
        self._waiting.add(key)
        if urgent:
            self._urgent.add(key)
        if key not in self._running:
            self._make_ready(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Work on ``key`` after ``seconds``, unless an earlier time is set already."""
        due = self._clock() + seconds
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._delayed, (due, next(self._order), key))
        self._wake.set()

    def retry(self, key: Key, at_least: float = 0.0) -> float:
        """Work on ``key`` again after its pause, which doubles with each failure in a row; returns the pause in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = max(at_least, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 20)) * (0.5 + self._jitter() / 2))
        self.add_after(key, pause)
        return pause

    def succeeded(self, key: Key) -> None:
        """Forget the failures of ``key``."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key. The caller must call `done` when it has worked on it."""
        while True:
            _, number, key = await self._ready.get()
            if self._entry.get(key) == number:
                break
        del self._entry[key]
        self._waiting.discard(key)
        self._urgent.discard(key)
        self._due.pop(key, None)
        self._running.add(key)
        return key

    def waited(self, key: Key) -> float:
        """Seconds from when ``key``, which `get` has just given, could have been worked on."""
        return self._clock() - self._since.pop(key)

    def done(self, key: Key) -> None:
        """The work on ``key`` has ended."""
        self._running.discard(key)
        if key in self._waiting:
            self._make_ready(key)

    def _make_ready(self, key: Key) -> None:
        self._since.setdefault(key, self._clock())
        self._entry[key] = next(self._order)
        self._ready.put_nowait((key not in self._urgent, self._entry[key], key))

    async def run_timer(self) -> None:
        """Move delayed keys when they are due; for ever."""
        while True:
            self._wake.clear()
            self.move_due()
            pause = self._delayed[0][0] - self._clock() if self._delayed else None
            try:
                async with asyncio.timeout(pause):  # wait_for would start a task, which kopf takes for its own and cancels at its end
                    await self._wake.wait()
            except TimeoutError:
                continue

    def move_due(self) -> None:
        """Make ready what is due now."""
        while self._delayed and self._delayed[0][0] <= self._clock():
            due, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
