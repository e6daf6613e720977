"""The operator's metrics: what it counts of itself, and what the statuses of the runs say. Their table is `ser_core.metrics`."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ser_core.metrics import METRICS
from ser_core.version import VERSION
from ser_operator.facts.known_run import KnownRun
from ser_operator.pages.run_page import RunPage

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0)
"""Bounds of the histograms. No alert can be from a wait above the last one on."""


class Telemetry:
    """The operator's metrics, in a registry of their own.

    Args:
        depth: How many keys wait to be worked on.
        runs: Every SERRun that is known.
        cached: Number of cached objects by kind.
    """

    def __init__(self, depth: Callable[[], int], runs: Callable[[], Iterable[KnownRun]], cached: Callable[[], Mapping[str, int]]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nothing reads
        self.registry = CollectorRegistry()
        self._watched = self._counter("ser_operator_watch_events_total")
        self._last_event = self._gauge("ser_operator_watch_last_event_timestamp_seconds")
        self._reconciled = self._counter("ser_operator_reconciles_total")
        self._reconcile_seconds = self._histogram("ser_operator_reconcile_duration_seconds")
        self._queue_seconds = self._histogram("ser_operator_queue_latency_seconds")
        self._requested = self._counter("ser_operator_api_requests_total")
        self._request_seconds = self._histogram("ser_operator_api_request_duration_seconds")
        self._resynced = self._gauge("ser_operator_resync_last_success_timestamp_seconds")
        self._resynced.set(time.time())  # an alert tells its age, also before the first LIST
        self._refused = self._gauge("ser_operator_refused_namespaces")
        self._drift = self._counter("ser_operator_resync_changes_total")
        self._gauge("ser_operator_queue_depth").set_function(depth)
        self._gauge("ser_operator_build_info").labels(VERSION).set(1)
        ProcessCollector(registry=self.registry)
        self._runs = runs
        self._page = RunPage()
        self.registry.register(_Cached(self._page.phases, cached))

    def watched(self, kind: str) -> None:
        """A watch brought an event."""
        self._watched.labels(kind).inc()
        self._last_event.labels(kind).set_to_current_time()

    def reconciled(self, result: str, seconds: float) -> None:
        """A reconcile ended; ``result`` is ``ok``, ``conflict``, ``retried`` or ``error``."""
        self._reconciled.labels(result).inc()
        self._reconcile_seconds.observe(seconds)

    def waited(self, seconds: float) -> None:
        """A key was taken from the queue ``seconds`` after it had become due."""
        self._queue_seconds.observe(seconds)

    def requested(self, verb: str, code: int, seconds: float) -> None:
        """The API server was asked something; ``code`` is 0 when it gave no answer."""
        self._requested.labels(verb, str(code)).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def drifted(self, kind: str, number: int) -> None:
        """A LIST changed ``number`` objects of the cache."""
        self._drift.labels(kind).inc(number)

    def resynced(self, refused: int = 0) -> None:
        """Everything was listed, but for so many namespaces that the API server refused."""
        self._resynced.set(time.time())
        self._refused.set(refused)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format. May be called from any thread."""
        self._page.update(self._runs(), datetime.now(UTC))
        return generate_latest(self.registry) + self._page.text().encode()

    def _counter(self, name: str) -> Counter:
        return Counter(name, METRICS[name].help, METRICS[name].labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name, METRICS[name].help, METRICS[name].labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        return Histogram(name, METRICS[name].help, METRICS[name].labels, registry=self.registry, buckets=_SECONDS)


class _Cached(Collector):
    """What the cache holds, counted anew at each scrape."""

    def __init__(self, phases: Callable[[], Mapping[str, int]], cached: Callable[[], Mapping[str, int]]) -> None:
        self._counts = {"ser_operator_runs": phases, "ser_operator_cached_objects": cached}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family a metric."""
        for name, count in self._counts.items():
            family = GaugeMetricFamily(name, METRICS[name].help, labels=METRICS[name].labels)
            for label, number in count().items():
                family.add_metric([label], number)
            yield family
