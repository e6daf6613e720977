"""What the operator has seen of the live attempts beside their Jobs: Events, the queue's words and progress, looked at seldom and
remembered meanwhile."""

from collections.abc import Sequence
from datetime import datetime

from ser_core.loop.observed import Waiting
from ser_operator.cluster.kubernetes_api import KubernetesApi
from ser_operator.cluster.progress_polls import ProgressPolls
from ser_operator.cluster.transport import NOT_FOUND, ApiError
from ser_operator.facts.cache import RunKey
from ser_operator.facts.pods.glance import NO_GLANCE, Glance
from ser_operator.facts.pods.queueing import NOT_SEEN, SILENT, held_without_queue, queued
from ser_operator.facts.pods.silent_node import silent_node
from ser_operator.facts.pods.waiting import lagging, starting, stuck, waiting, waits_since
from ser_operator.facts.reading import Object, at, leading, terminated, uid
from ser_operator.settings import Settings

EVENTS_SECONDS = 60.0
"""Pause between two looks at the Events of one object, or at its Workload."""
KUEUE_MISSING_SECONDS = 600.0
"""Pause between two looks for Workloads in a cluster that has none."""


class Glances:
    """Looks at live attempts, at most as often as the settings say."""

    def __init__(self, api: KubernetesApi, settings: Settings, polls: ProgressPolls) -> None:
        self._api = api
        self._settings = settings
        self._polls = polls
        self._seen: dict[str, Glance] = {}
        self._kueue_missing_since: datetime | None = None

    async def look(self, run: RunKey, job: Object, pods: Sequence[Object], now: datetime) -> Glance:
        """What is known of the attempt of a run with this Job now."""
        before = self._seen.get(uid(job), NO_GLANCE)
        unheard = stuck(pods, now) or silent_node(pods)
        if unheard is not None:
            return Glance(waiting=unheard)
        since = waits_since(job, pods)
        if since is None:
            found = self._running(run, uid(job), leading(pods), before, now)
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
        self._polls.forget(job_uids)

    def _running(self, run: RunKey, job: str, pod: Object, before: Glance, now: datetime) -> Glance:
        address, known = at(pod, "status").get("podIP"), self._polls.answer(job)
        if terminated(pod) or not isinstance(address, str) or not _due(before.seen_at, now, self._settings.progress_seconds):
            return Glance(progress=known, seen_at=before.seen_at)
        self._polls.ask(run, job, address)
        return Glance(progress=known, seen_at=now)

    async def _waiting(self, job: Object, pods: Sequence[Object], before: Glance, now: datetime) -> Glance:
        known = waiting(job, pods, ())
        if known is SILENT:
            return await self._queued(job, before, now)
        events, seen_at = before.events, before.seen_at
        if known is None and _due(before.seen_at, now, EVENTS_SECONDS):
            try:
                events = await self._api.list_events(job["metadata"]["namespace"], uid(lagging(pods) or job))
            except ApiError:
                events = ()  # a reason is worth having, not worth failing for
            seen_at = now
        found = known or waiting(job, pods, events) or starting(lagging(pods), events)
        return Glance(waiting=found, seen_at=seen_at, events=events)

    async def _queued(self, job: Object, before: Glance, now: datetime) -> Glance:
        if before.queue is not None and not _due(before.seen_at, now, EVENTS_SECONDS):
            return before
        said = await self._ask_queue(job, now)
        return Glance(waiting=said, seen_at=now, queue=None if said in (SILENT, NOT_SEEN) else said)

    async def _ask_queue(self, job: Object, now: datetime) -> Waiting:
        if not _due(self._kueue_missing_since, now, KUEUE_MISSING_SECONDS):
            return held_without_queue(job)
        try:
            return queued(await self._api.list_workloads(job["metadata"]["namespace"], uid(job)))
        except ApiError as error:
            if error.code != NOT_FOUND:
                return SILENT  # a reason is worth having, not worth failing for
            self._kueue_missing_since = now
            return held_without_queue(job)


def _due(last: datetime | None, now: datetime, pause: float) -> bool:
    """Whether ``pause`` seconds are over since the last time. A clock that was set back does not lengthen them."""
    return last is None or not 0 <= (now - last).total_seconds() < pause
