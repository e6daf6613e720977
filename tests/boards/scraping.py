"""A Prometheus is told of the pods of a namespace as they come, as the chart's monitors tell it; and what it has seen of a run."""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from boards.draw import Drawing, Moment, draw
from boards.gpu_exporter import GpuExporter, Pod
from controlplane.faults.scenario import ROOT
from controlplane.plane.api_client import ApiClient, ApiError, Object
from controlplane.plane.prometheus import Prometheus
from ser_operator.objects import labels
from ser_operator.objects.container import PROGRESS_PORT

GPU_NODE = "gpu-node-1"
"""Where the stand-in says that the GPUs are."""
RULES = sorted((ROOT / "charts/ser-operator/rules").glob("*.yaml"))
AFTER_ITS_END = {"Stage done"}
"""Panels of a run that are empty when it has ended."""
WHILE_NONE_WAITS = {"Every run"}
"""Panels of the fleet that have an empty column at a moment at which no run waits for the world."""
_OPERATOR_PORT = 8080
_PATIENCE = 120
"""Seconds."""
_SHORTEST = "2s"
"""Time over which a rate is taken where no board is drawn."""


@contextmanager
def scraping(
    prometheus: Prometheus, api: ApiClient, namespace: str, operator: str | None = None, others: Sequence[Pod] = ()
) -> Iterator[None]:
    """Scrape the stages of a namespace and its operator, and give each stage GPUs.

    Args:
        prometheus: It is told.
        api: Of one who may list pods.
        namespace: Of the runs.
        operator: ``host:port`` of an operator that is no pod.
        others: More pods that the stand-in says to hold GPUs.
    """
    ended = threading.Event()
    fixed = {operator: "ser-operator"} if operator else {}

    def tell(gpus: GpuExporter) -> None:
        while not ended.wait(0.1):
            try:
                pods = [pod for pod in api.get(f"/api/v1/namespaces/{namespace}/pods")["items"] if _runs(pod)]
            except (ApiError, HTTPError):  # of a busy API server: those that are known stay
                continue
            stages, operators = (_named(name, pods) for name in ("ser-stage", "ser-operator"))
            gpus.show([*others, *map(_with_gpus, stages)])
            pages = {**_targets(stages, PROGRESS_PORT), **_targets(operators, _OPERATOR_PORT)}
            prometheus.scrape({**fixed, gpus.address: "dcgm-exporter", **pages})

    with GpuExporter() as gpus:
        thread = threading.Thread(target=tell, args=(gpus,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _runs(pod: Object) -> bool:
    return pod["status"]["phase"] == "Running" and "podIP" in pod["status"]


def _named(name: str, pods: Sequence[Object]) -> list[Object]:
    return [pod for pod in pods if pod["metadata"].get("labels", {}).get("app.kubernetes.io/name") == name]


def _targets(pods: Sequence[Object], port: int) -> Mapping[str, str]:
    return {f"{pod['status']['podIP']}:{port}": pod["metadata"]["name"] for pod in sorted(pods, key=lambda one: one["status"]["podIP"])}


def _with_gpus(pod: Object) -> Pod:
    metadata = pod["metadata"]
    run, iteration, stage = (metadata["labels"][label] for label in (labels.RUN, labels.ITERATION, labels.STAGE))
    return Pod(metadata["namespace"], metadata["name"], GPU_NODE, run, iteration, stage)


@dataclass
class Scraped:
    """What a Prometheus has seen of a run.

    Attributes:
        scrape: Seconds between two scrapes, as the boards are told.
        start: Seconds since the epoch: before this nothing was to be seen.
        end: After this nothing is of interest; until it is set, now.
    """

    prometheus: Prometheus
    namespace: str
    run: str
    scrape: float = 1
    start: float = field(default_factory=time.time)
    end: float | None = None

    def ever(self, expression: str) -> list[dict[str, str]]:
        """Series with a finite value at some moment, by their labels."""
        return [one["metric"] for one in self._range(expression) if any(math.isfinite(float(value)) for _, value in one["values"])]

    def last(self, expression: str) -> float:
        """The last moment at which an expression had a value."""
        moments = [float(moment) for one in self._range(expression) for moment, _ in one["values"]]
        assert moments, f"{expression} never had a value; last scrapes: {self.prometheus.targets()}; scraped: {self._scraped()}"
        return max(moments)

    def now(self, expression: str) -> None:
        """Wait until an expression has a value: an operator that has just been replaced is scraped a moment later."""
        deadline = time.monotonic() + _PATIENCE
        while not self.prometheus.query(expression):
            assert time.monotonic() < deadline, (
                f"{expression} has no value; last scrapes: {self.prometheus.targets()}; scraped: {self._scraped()}"
            )
            time.sleep(0.2)

    def holds(self, expression: str, moment: float) -> bool:
        """Whether an expression has a value at a moment."""
        return bool(self.prometheus.query_range(expression, moment, moment, 1.0))

    def drawn(self, board: str, picture: Path, end: float | None = None, mode: str = "dark") -> Drawing:
        """A board as somebody sees it who looks at ``end``."""
        variables = {"namespace": self.namespace, "run": self.run}
        moment = Moment(self.prometheus.address, self.start, end or self._end(), self.scrape, variables)
        return draw(board, moment, picture, mode)

    def _scraped(self) -> dict[str, str]:
        """The share of scrapes of each pod that brought something."""
        age = f"{time.time() - self.start:.0f}s"
        return {one["metric"].get("pod", ""): one["value"][1] for one in self.prometheus.query(f"avg_over_time(up[{age}])")}

    def _range(self, expression: str) -> list[dict[str, Any]]:
        filled = expression.replace("$namespace", self.namespace).replace("$run", self.run).replace("$__rate_interval", _SHORTEST)
        return self.prometheus.query_range(filled, self.start, self._end(), max(0.25, (self._end() - self.start) / 10_000))

    def _end(self) -> float:
        return self.end or time.time()
