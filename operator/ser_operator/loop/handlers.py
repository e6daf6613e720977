"""kopf as the watch engine: every event goes into the cache and adds a key to the queue. Nothing is decided, written or raised here."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import kopf
from kubernetes.aio.client.configuration import Configuration

from ser_core.api.serrun import API_VERSION
from ser_operator.cluster.transport import CONNECT_SECONDS
from ser_operator.facts.cache import Cache, RunKey
from ser_operator.facts.haste import SOON_SECONDS, Haste, haste
from ser_operator.facts.kept import Kind
from ser_operator.loop.work_queue import WorkQueue
from ser_operator.objects import labels
from ser_operator.pages.telemetry import Telemetry
from ser_operator.settings import Settings

GROUP, VERSION = API_VERSION.split("/")


def build_registry(cache: Cache, queue: WorkQueue[RunKey], telemetry: Telemetry, configuration: Configuration) -> kopf.OperatorRegistry:
    """The handlers of the three kinds that are watched, and the login."""
    registry = kopf.OperatorRegistry()

    def take_in(kind: Kind, event: kopf.RawEvent) -> None:
        thing = dict(event["object"])
        telemetry.watched(kind)
        gone = event["type"] == "DELETED"
        key = cache.remove(kind, thing) if gone else cache.put(kind, thing)
        wanted = haste(kind, thing, gone=gone)
        if key is not None and wanted is Haste.SOON:
            queue.add_after(key, SOON_SECONDS)
        elif key is not None:
            queue.add(key, urgent=wanted is Haste.FIRST)

    @kopf.on.event(GROUP, VERSION, "serruns", id="serruns", registry=registry)
    async def run_event(event: kopf.RawEvent, **_: Any) -> None:
        take_in("SERRun", event)

    @kopf.on.event("batch", "v1", "jobs", id="jobs", registry=registry)
    async def job_event(event: kopf.RawEvent, **_: Any) -> None:
        take_in("Job", event)

    @kopf.on.event("", "v1", "pods", id="pods", registry=registry)
    async def pod_event(event: kopf.RawEvent, **_: Any) -> None:
        take_in("Pod", event)

    @kopf.on.login(id="login", registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection(configuration)

    return registry


class ForEver(Iterable[float]):
    """Pauses (s) between the tries of a request of kopf. When they end, the process does.

    They do not end, since a watched namespace may be deleted, and its Role with it: the watch of that namespace is refused, 403, and the
    others go on. Nor would a new process reach an API server that this one does not. The LISTs tell how long it has lasted.
    """

    def __iter__(self) -> Iterator[float]:
        """From 1 s to 60 s."""
        return itertools.chain((1.0, 2.0, 5.0, 10.0, 20.0, 30.0), itertools.repeat(60.0))


class NothingRemembered(kopf.DiffBaseStorage):
    """kopf copies every object of every event to find out what changed, a seventh of the operator's time; no handler here needs that."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """No part of an object counts."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> None:
        """Nothing was kept."""

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is kept."""


def kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    """kopf's settings, each for a reason."""
    wanted = kopf.OperatorSettings()
    wanted.peering.standalone = True  # peering pauses operators of equal priority, and is no lock
    wanted.scanning.disabled = True  # no rights on CRDs and namespaces are needed then
    wanted.posting.enabled = False  # we publish our own Events, once each
    for children in (("batch", "v1", "jobs"), ("v1", "pods")):  # others' never leave the server
        wanted.watching.label_selectors[children] = labels.selector(settings.operator_class)
    wanted.watching.reconnect_backoff = 1.0  # s; the default of 0.1 makes 8 LISTs a second while a 410 lasts
    wanted.watching.inactivity_timeout = 70.0  # s; bookmarks come every 60, so a silent stream is dead
    wanted.watching.chunk_size = 250  # as our own pages: on a busy server a larger one may take longer than a request may
    wanted.queueing.idle_timeout = 0.1  # s; each object of a LIST has a task that keeps it for so long, 5 s by default: all at once
    wanted.networking.request_timeout = settings.request_seconds
    wanted.networking.connect_timeout = CONNECT_SECONDS
    wanted.networking.error_backoffs = ForEver()
    wanted.execution.max_workers = 1  # there are no synchronous handlers
    wanted.persistence.diffbase_storage = NothingRemembered()
    wanted.persistence.finalizer = "of nobody"  # no object can bear it: the one that kopf looks for it takes away, without the right to
    wanted.process.ultimate_exiting_timeout = 20.0  # s; below the grace period of the operator's own pod
    return wanted


def connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """kopf's view of the client's configuration: the same server, proxy, certificates and, read again, the token."""
    if configuration.refresh_api_key_hook is not None:
        configuration.refresh_api_key_hook(configuration)
    # the client writes "Bearer …" from a kubeconfig and "bearer …" in a pod
    token = str(configuration.api_key.get("BearerToken", "")).rpartition(" ")[2].strip()
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        insecure=not configuration.verify_ssl,
        proxy_url=configuration.proxy,
    )
