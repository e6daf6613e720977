"""One process of the operator, at its wire."""

import asyncio

from kubernetes.aio.client.configuration import Configuration

from ser_operator.cluster.transport import ApiError
from ser_operator.facts.reading import uid
from ser_operator.loop.engine import Engine
from ser_operator.loop.handlers import build_registry
from ser_operator.settings import Settings

from .server import KINDS
from .wire import Wire


class Process:
    """It begins when it is made.

    Args:
        server: Whom it talks to.
        fails: Whether a request fails now.
        patience: Seconds after which it gives a request up; None: never.
        workers: How many runs it works on at once.
        namespaces: That it watches; none: all.
    """

    def __init__(self, server, fails, patience, workers, namespaces):
        self._server, self.wire, self._workers = server, Wire(server, fails, patience), workers
        settings = Settings(image="registry.example/ser:1", namespaces=namespaces)
        self.engine = Engine(self.wire, Configuration(), settings, lambda: server.now)
        self.cache, self._queue = self.engine._cache, self.engine._queue
        self._reconcile, self.engine._reconciler.reconcile = self.engine._reconciler.reconcile, self._checked
        self._put, self.cache.put = self.cache.put, self._put_in
        self._queue._jitter = lambda: 0.5
        registry = build_registry(self.cache, self._queue, self.engine._telemetry, Configuration())
        self._handlers = dict(zip(KINDS, (one.fn for one in registry._watching.get_all_handlers()), strict=True))
        self._tasks, self._resync = set(), None
        self._spawn(self._operate())

    @property
    def is_primed(self):
        return self.engine._primed

    @property
    def lists(self):
        """Whether a LIST of everything is on its way."""
        return self._resync is not None and not self._resync.done()

    async def _operate(self):
        await self.engine._prime(asyncio.Event())
        workers = [self.engine._work() for _ in range(self._workers)]
        await asyncio.gather(*workers, self._queue.run_timer())

    async def _checked(self, key):
        """The engine would log a defect, and go on."""
        try:
            again = await self._reconcile(key)
            self._server.history.append(f"   reconciled {key}, again in {again} s")
            return again
        except ApiError as error:
            self._server.history.append(f"   not reconciled {key}: {error}")
            raise
        except Exception as error:
            self._server.promises.broken.append(f"{key}: {error!r}")
            raise

    def _put_in(self, kind, thing):
        """What is newer stays, in whatever order it comes."""
        before = self.cache._versions[kind].get(uid(thing), 0)
        key = self._put(kind, thing)
        if self.cache._versions[kind].get(uid(thing), before) < before:
            self._server.promises.broken.append(f"{kind} {uid(thing)} has become older")
        return key

    def die(self):
        for task in self._tasks:
            task.cancel()
        self.wire.cut()

    def _spawn(self, part):
        task = asyncio.get_running_loop().create_task(part)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def tell(self, key):
        """The next word of a watch about one object."""
        self._spawn(self._handlers[key[0]](event=self.wire.news[key].popleft()))

    def list_everything(self):
        self._resync = self._spawn(self._listed())

    async def _listed(self):
        self.wire.is_unheard, before = False, self.wire.is_unheard
        try:
            await self.engine._list_everything()
        except ApiError:
            self.wire.is_unheard |= before
