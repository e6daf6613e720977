"""What the operator has seen of the live attempts beside their Jobs: Events, the queue's words and progress, looked at seldom and
remembered meanwhile."""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import aiohttp

from ser_core.loop.observed import Progress, Waiting
from ser_operator.cluster.kubernetes_api import KubernetesApi
from ser_operator.cluster.transport import NOT_FOUND, ApiError
from ser_operator.facts.glance import NO_GLANCE, Glance
from ser_operator.facts.queueing import NOT_INSTALLED, NOT_SEEN, SILENT, queued
from ser_operator.facts.reading import Object, leading, terminated, uid
from ser_operator.facts.silent_node import silent_node
from ser_operator.facts.waiting import lagging, stuck, waiting, waits_since
from ser_operator.objects.render import PROGRESS_PORT
from ser_operator.settings import Settings

ReadProgress = Callable[[str], Awaitable[Progress | None]]

EVENTS_SECONDS = 60.0
"""Pause between two looks at the Events of one object, or at its Workload."""
KUEUE_MISSING_PAUSE = timedelta(minutes=10)
"""Pause between two looks for Workloads in a cluster that has none."""
PROGRESS_TIMEOUT, PROGRESS_BYTES = 2.0, 4096


class Glances:
    """Looks at live attempts, at most as often as the settings say."""

    def __init__(self, api: KubernetesApi, settings: Settings, read_progress: ReadProgress) -> None:
        self._api = api
        self._settings = settings
        self._read_progress = read_progress
        self._seen: dict[str, Glance] = {}
        self._kueue_missing_until: datetime | None = None

    async def look(self, job: Object, pods: Sequence[Object], now: datetime) -> Glance:
        """What is known of the attempt with this Job now."""
        before = self._seen.get(uid(job), NO_GLANCE)
        unheard = stuck(pods, now) or silent_node(pods)
        if unheard is not None:
            return Glance(waiting=unheard)
        since = waits_since(job, pods)
        if since is None:
            found = await self._running(leading(pods), before, now)
        elif (now - since).total_seconds() < self._settings.events_after_seconds:
            found = NO_GLANCE
        else:
            found = await self._waiting(job, pods, before, now)
        self._seen[uid(job)] = found
        return found

    def forget(self, job_uids: set[str]) -> None:
        """Drop what is remembered of Jobs that are not among ``job_uids``."""
        for gone in self._seen.keys() - job_uids:
            del self._seen[gone]

    async def _running(self, pod: Object, before: Glance, now: datetime) -> Glance:
        address = pod.get("status", {}).get("podIP")
        if terminated(pod) or not isinstance(address, str) or not _due(before, now, self._settings.progress_seconds):
            return Glance(progress=before.progress, seen_at=before.seen_at)
        return Glance(progress=await self._read_progress(address) or before.progress, seen_at=now)

    async def _waiting(self, job: Object, pods: Sequence[Object], before: Glance, now: datetime) -> Glance:
        known = waiting(job, pods, ())
        if known is SILENT:
            return await self._queued(job, before, now)
        events, seen_at = before.events, before.seen_at
        if known is None and _due(before, now, EVENTS_SECONDS):
            try:
                events = await self._api.list_events(job["metadata"]["namespace"], uid(lagging(pods) or job))
            except ApiError:
                events = ()  # a reason is worth having, not worth failing for
            seen_at = now
        return Glance(waiting=known or waiting(job, pods, events), seen_at=seen_at, events=events)

    async def _queued(self, job: Object, before: Glance, now: datetime) -> Glance:
        if before.queue is not None and not _due(before, now, EVENTS_SECONDS):
            return before
        said = await self._ask_queue(job, now)
        return Glance(waiting=said, seen_at=now, queue=None if said in (SILENT, NOT_SEEN) else said)

    async def _ask_queue(self, job: Object, now: datetime) -> Waiting:
        if self._kueue_missing_until is not None and now < self._kueue_missing_until:
            return NOT_INSTALLED
        try:
            return queued(await self._api.list_workloads(job["metadata"]["namespace"], uid(job)))
        except ApiError as error:
            if error.code != NOT_FOUND:
                return SILENT  # a reason is worth having, not worth failing for
            self._kueue_missing_until = now + KUEUE_MISSING_PAUSE
            return NOT_INSTALLED


def _due(before: Glance, now: datetime, pause: float) -> bool:
    return before.seen_at is None or (now - before.seen_at).total_seconds() >= pause


async def read_progress(address: str) -> Progress | None:
    """What a stage's pod says of its progress; None when it says nothing usable within 2 s and 4 KiB. Redirects are not followed."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROGRESS_TIMEOUT)) as session,
            session.get(f"http://{address}:{PROGRESS_PORT}/progress", allow_redirects=False) as answer,
        ):
            said = json.loads(await answer.content.read(PROGRESS_BYTES)) if answer.status == 200 else None
        return Progress(int(said["step"]), int(said["total"]), str(said["unit"])) if said else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError, RecursionError):
        return None
