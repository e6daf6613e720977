"""/livez, /readyz and /metrics of the operator."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from ser_operator.pages.telemetry import Telemetry

LATE_SECONDS = 60.0
"""Age of the last heartbeat at which the event loop counts as stuck."""
BEAT_SECONDS = 1.0


class Heartbeat:
    """Proof that the event loop turns."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()

    async def beat(self) -> None:
        """Beat once a second, for ever."""
        while True:
            self._last = self._clock()
            await asyncio.sleep(BEAT_SECONDS)

    def alive(self) -> bool:
        """Whether the last beat is recent."""
        return self._clock() - self._last < LATE_SECONDS


def application(heartbeat: Heartbeat, ready: Callable[[], bool], telemetry: Telemetry) -> web.Application:
    """The three pages."""

    async def livez(_: web.Request) -> web.Response:
        return _answer(heartbeat.alive(), "the event loop is stuck")

    async def readyz(_: web.Request) -> web.Response:
        return _answer(ready(), "the first LIST is not done")

    async def metrics(_: web.Request) -> web.Response:
        page = await asyncio.to_thread(telemetry.exposition)  # a second's work with a thousand runs
        return web.Response(body=page, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    pages = web.Application()
    pages.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return pages


def _answer(good: bool, otherwise: str) -> web.Response:
    return web.Response(text="ok\n") if good else web.Response(text=f"{otherwise}\n", status=503)
