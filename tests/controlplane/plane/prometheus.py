"""A real Prometheus on loopback, which scrapes what a test tells it and evaluates the chart's rules."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from ports import free_port

from controlplane.plane.build import binary
from controlplane.plane.part import Part
from controlplane.plane.watchdog import Watchdog

READY_SECONDS = 120


class Prometheus:
    """Runs from entering the context to leaving it.

    Args:
        folder: For its data, its configuration and its log.
        rules: Rule files.
        scrape: Between two scrapes, and what each may take.
    """

    def __init__(self, folder: Path, rules: Sequence[Path] = (), scrape: str = "200ms") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self._targets = folder / "targets.json"
        self._watchdog = Watchdog()
        self.scrape({})
        configuration = folder / "prometheus.yaml"
        configuration.write_text(yaml.safe_dump(self._configuration(rules, scrape)))
        flags = [f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        self._part = Part("prometheus", [str(binary("prometheus")), *flags], folder, self._watchdog)

    def _configuration(self, rules: Sequence[Path], scrape: str) -> dict[str, Any]:
        """Like the chart's monitors: labels of the page are honoured."""
        job = {"job_name": "ser", "honor_labels": True, "file_sd_configs": [{"files": [str(self._targets)], "refresh_interval": "1s"}]}
        return {
            "global": {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [job],
        }

    def __enter__(self) -> Self:
        self._part.start()
        deadline = time.monotonic() + READY_SECONDS
        while True:
            self._part.check()
            try:
                urllib.request.urlopen(f"{self.address}/-/ready", timeout=2).close()
                return self
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._part.end()
        self._watchdog.close()

    def scrape(self, pods: Mapping[str, str]) -> None:
        """From now on scrape these, and nothing else: ``host:port`` and the name of the pod there."""
        told = json.dumps([{"targets": [address], "labels": {"pod": pod}} for address, pod in pods.items()])
        if self._targets.exists() and self._targets.read_text() == told:
            return  # Prometheus reads the file anew at each write
        partial = self._targets.with_suffix(".partial")
        partial.write_text(told)
        partial.replace(self._targets)

    def targets(self) -> dict[str, str]:
        """What was wrong with the last scrape of each pod; empty where nothing was."""
        return {
            one["labels"].get("pod", one["scrapeUrl"]): one["lastError"] for one in self._get("targets", state="active")["activeTargets"]
        }

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Result of an instant query, at a time in seconds since the epoch."""
        return self._get("query", query=expression, **({"time": at} if at is not None else {}))["result"]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Result of a query over a time."""
        return self._get("query_range", query=expression, start=start, end=end, step=step)["result"]

    def _get(self, path: str, **parameters: object) -> dict[str, Any]:
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{path} {parameters}: {error.read().decode()}") from error
