"""The operator's parts put together and run until one of them ends: kopf's watches, the workers, the resync, the probes.

Crash-only: whatever ends ends the process, and the next one starts from what the API server says.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from socket import gethostname
from typing import Any

import kopf
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from ser_core.api.cluster_identity import cluster_identity
from ser_operator.cluster.glances import Glances
from ser_operator.cluster.kubernetes_api import Cluster
from ser_operator.cluster.progress_polls import ProgressPolls, read_progress
from ser_operator.cluster.transport import CONFLICT, ApiError, authorities
from ser_operator.facts.cache import Cache, RunKey
from ser_operator.loop.handlers import build_registry, kopf_settings
from ser_operator.loop.reconcile import Reconciler
from ser_operator.loop.resync import Resync
from ser_operator.loop.work_queue import WorkQueue
from ser_operator.pages.probes import Heartbeat, application
from ser_operator.pages.telemetry import Telemetry
from ser_operator.settings import Settings

log = logging.getLogger("ser_operator")

POLLERS = 32
"""Stages that are asked for their progress at once: a thousand a minute, though none of them answers."""
FIRST_LIST_SECONDS = 2.0
"""Pause between two tries of the first LIST, unless the server asks for another."""


class Engine:
    """One operator process.

    Args:
        cluster: The API server.
        configuration: How kopf reaches the same one.
        settings: The operator's.
        clock: The time.
    """

    def __init__(
        self,
        cluster: Cluster,
        configuration: Configuration,
        settings: Settings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = cluster
        self._configuration = configuration
        self._settings = settings
        self._cache = Cache(settings.operator_class, clock)
        self._queue: WorkQueue[RunKey] = WorkQueue()
        self._telemetry = Telemetry(lambda: len(self._queue), self._cache.runs, self._cache.sizes)
        cluster.tell_requests(self._telemetry.requested)
        self._polls = ProgressPolls(read_progress, self._queue.add)
        self._glances = Glances(cluster, settings, self._polls)
        identity = cluster_identity(authorities(configuration))
        self._reconciler = Reconciler(cluster, self._cache, settings, self._glances, clock, lambda: self._queue.hurries, identity)
        self._resync = Resync(cluster, self._cache, self._telemetry, settings)
        self._primed = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set.

        Raises:
            RuntimeError: A part ended by itself; the process must be started anew.
        """
        async with self._serve():
            if not await self._prime(stop):
                return
            parts: dict[str, Coroutine[Any, Any, None]] = {
                "timer": self._queue.run_timer(),
                "resync": self._resync_for_ever(),
                **{f"worker-{number}": self._work() for number in range(self._settings.workers)},
                **{f"poller-{number}": self._polls.poll() for number in range(POLLERS)},
            }
            stopping = asyncio.create_task(stop.wait(), name="stop")
            tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
            await asyncio.sleep(0)  # kopf must find these tasks running, else it takes them for its own and waits for them at its end
            tasks.append(asyncio.create_task(self._watch(stop), name="watch"))
            ended, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            await self._end(tasks)
        broken = [task for task in ended if task is not stopping and not _in_order(task)]
        if broken:
            raise RuntimeError(f"{broken[0].get_name()} ended") from (None if broken[0].cancelled() else broken[0].exception())

    async def _prime(self, stop: asyncio.Event) -> bool:
        """LIST everything before any watch, so that the first decisions see it; False: stopped before.

        A CRD that was installed a moment ago is not served yet, and the operator is not ready until it is.
        """
        while not stop.is_set():
            try:
                await self._list_everything()
            except ApiError as error:
                pause = error.retry_after or FIRST_LIST_SECONDS
                log.warning("first LIST: %s; again in %.0f s", error, pause)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
            else:
                self._primed = True
                return True
        return False

    async def _watch(self, stop: asyncio.Event) -> None:
        namespaces = self._settings.namespaces
        await kopf.operator(
            registry=build_registry(self._cache, self._queue, self._telemetry, self._configuration),
            settings=kopf_settings(self._settings),
            clusterwide=not namespaces,
            namespaces=namespaces,
            standalone=True,
            # In a pod its name. Without an identity kopf asks for the user's name, and the image's user has none.
            identity=gethostname(),  # type: ignore[arg-type]  # kopf's own word for such a str is private
            stop_flag=stop,
        )

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        watch = tasks[-1]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(watch), 10)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._telemetry.waited(self._queue.waited(key))
            try:
                await self._step(key)
            finally:
                self._queue.done(key)
            # A reconcile that only reads the cache never waits: without this, thousands in a row would block probes and watches.
            await asyncio.sleep(0)

    async def _step(self, key: RunKey) -> None:
        """Reconcile one run. An error concerns only this run."""
        began = time.monotonic()
        try:
            again = await self._reconciler.reconcile(key)
        except ApiError as error:
            result = "conflict" if error.code == CONFLICT else "retried"
            pause = self._queue.retry(key, error.retry_after or 0.0)
            log.log(logging.INFO if result == "conflict" else logging.WARNING, "%s/%s: %s; again in %.1f s", *key, error, pause)
        except Exception:
            result = "error"
            pause = self._queue.retry(key)
            log.exception("%s/%s: a defect; again in %.1f s", *key, pause)
        else:
            result = "ok"
            self._queue.succeeded(key)
            if again is not None:
                self._queue.add_after(key, again)
        self._telemetry.reconciled(result, time.monotonic() - began)

    async def _resync_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds)
            try:
                await self._list_everything()
            except ApiError as error:
                log.warning("resync: %s; again in %.0f s", error, self._settings.resync_seconds)

    async def _list_everything(self) -> None:
        changed: set[RunKey] = set()
        try:
            await self._resync.once(changed)
        finally:
            for key in changed:
                # After a start these are all runs, and most of them have ended long ago.
                if self._primed or not self._cache.is_over(key):
                    self._queue.add(key)
        self._glances.forget({str(job["metadata"]["uid"]) for job in self._cache.all_jobs()})

    @contextlib.asynccontextmanager
    async def _serve(self) -> Any:
        """The pages and the heartbeat, from before the first LIST: a server that does not answer it is no stuck loop."""
        heartbeat = Heartbeat(time.monotonic)
        runner = web.AppRunner(application(heartbeat, lambda: self._primed, self._telemetry), access_log=None)
        await runner.setup()
        beating = asyncio.create_task(heartbeat.beat(), name="heartbeat")
        try:
            site = web.TCPSite(runner, self._settings.probe_host, self._settings.probe_port)
            await site.start()
            log.info("probes and metrics on %s", ", ".join(f"http://{_in_url(host)}:{port}" for host, port, *_ in runner.addresses))
            yield
        finally:
            beating.cancel()
            await runner.cleanup()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _in_order(task: asyncio.Task[Any]) -> bool:
    """Whether a part has ended because it was told to: kopf handles SIGTERM itself and returns."""
    return task.get_name() == "watch" and not task.cancelled() and task.exception() is None
