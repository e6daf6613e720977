"""Asks stages for their progress, beside the workers: a port that says nothing holds no run up."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from ser_core.loop.observed import Progress
from ser_operator.facts.cache import RunKey
from ser_operator.objects.container import PROGRESS_PORT

ReadProgress = Callable[[str], Awaitable[Progress | None]]

PROGRESS_TIMEOUT, PROGRESS_BYTES = 2.0, 4096
_MOST = 2**53
"""Whole numbers beyond it are not the same in every program that reads the status."""


@dataclass(frozen=True, slots=True)
class _Question:
    run: RunKey
    job: str
    address: str


class ProgressPolls:
    """Questions, and the last answer to each.

    Args:
        read: Asks an address.
        tell: Told of a run whose stage has gone on.
    """

    def __init__(self, read: ReadProgress, tell: Callable[[RunKey], None]) -> None:
        self._read = read
        self._tell = tell
        self._questions: asyncio.Queue[_Question] = asyncio.Queue()
        self._open: set[str] = set()
        """UIDs of the Jobs that are being asked, so that slow answers make questions rarer, not more."""
        self._answers: dict[str, Progress] = {}

    def ask(self, run: RunKey, job: str, address: str) -> None:
        """Ask the stage of a Job (by UID) at the address of its pod, soon."""
        if job not in self._open:
            self._open.add(job)
            self._questions.put_nowait(_Question(run, job, address))

    def answer(self, job: str) -> Progress | None:
        """The last one, if there was any."""
        return self._answers.get(job)

    def forget(self, jobs: set[str]) -> None:
        """Drop the answers of Jobs that are not among ``jobs``."""
        for gone in self._answers.keys() - jobs:
            del self._answers[gone]

    async def poll(self) -> None:
        """Ask one after another, for ever; several may do so at once."""
        while True:
            question = await self._questions.get()
            said = await self._read(question.address)
            self._open.discard(question.job)
            if said is not None and said != self._answers.get(question.job):
                self._answers[question.job] = said
                self._tell(question.run)


async def read_progress(address: str) -> Progress | None:
    """What a stage's pod says of its progress; None when it says nothing usable within 2 s and 4 KiB. Redirects are not followed."""
    host = f"[{address}]" if ":" in address else address
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROGRESS_TIMEOUT)) as session,
            session.get(f"http://{host}:{PROGRESS_PORT}/progress", allow_redirects=False) as answer,
        ):
            said = json.loads(await answer.content.read(PROGRESS_BYTES)) if answer.status == 200 else None
        found = Progress(int(said["step"]), int(said["total"]), str(said["unit"])) if said else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    return found if found is not None and max(abs(found.step), abs(found.total)) <= _MOST else None
