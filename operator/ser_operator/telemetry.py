"""What the operator measures of itself. No label has the name of a run: their number has no bound."""

from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Telemetry:
    """The operator's metrics, in a registry of their own.

    Args:
        depth: How many keys wait to be worked on.
        phases: Phase of every run that is known.
    """

    def __init__(self, depth: Callable[[], int], phases: Callable[[], Iterable[str]]) -> None:
        self.registry = CollectorRegistry()
        self._watched = Counter("ser_operator_watch_events", "Events that the watches brought.", ["kind"], registry=self.registry)
        self._reconciled = Counter("ser_operator_reconciles", "Looks at a run, by how they ended.", ["result"], registry=self.registry)
        self._seconds = Histogram("ser_operator_reconcile_seconds", "Time of one look at a run.", buckets=_SECONDS, registry=self.registry)
        self._drift = Counter(
            "ser_operator_resync_changes", "Objects that a LIST showed otherwise than the watch had.", ["kind"], registry=self.registry
        )
        Gauge("ser_operator_queue_depth", "Runs that wait to be looked at.", registry=self.registry).set_function(depth)
        self.registry.register(_Phases(phases))

    def watched(self, kind: str) -> None:
        """A watch brought an event."""
        self._watched.labels(kind).inc()

    def reconciled(self, result: str, seconds: float) -> None:
        """A look at a run ended; ``result`` is ``ok``, ``conflict``, ``retried`` or ``error``."""
        self._reconciled.labels(result).inc()
        self._seconds.observe(seconds)

    def drifted(self, kind: str, number: int) -> None:
        """A LIST changed ``number`` objects of the cache."""
        self._drift.labels(kind).inc(number)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Phases(Collector):
    """Runs by phase, counted at each scrape, so that deleted runs vanish."""

    def __init__(self, phases: Callable[[], Iterable[str]]) -> None:
        self._phases = phases

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One sample a phase."""
        family = GaugeMetricFamily("ser_operator_runs", "SERRuns by phase.", labels=["phase"])
        for phase, number in sorted(Count(self._phases()).items()):
            family.add_metric([phase], number)
        yield family
