"""``/metrics`` of a running stage: how far it is, the newest optimizer step, its memory. The metrics are those of `ser_core.metrics`."""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ser_core.api.stage import StageSpec
from ser_core.data.tables import TrainingStep
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.metrics import METRICS

Family = CounterMetricFamily | GaugeMetricFamily
Sample = tuple[str, tuple[str, ...], float]


class Measurements:
    """The stage's measurements by name of the metric. All threads may use it."""

    def __init__(self) -> None:
        self._values = {"ser_stage_store_retries_total": 0.0}
        self._lock = threading.Lock()

    def set(self, values: Mapping[str, float]) -> None:
        """Replace values."""
        with self._lock:
            self._values |= values

    def add(self, values: Mapping[str, float]) -> None:
        """Add to values, which begin at 0."""
        with self._lock:
            self._values |= {name: self._values.get(name, 0.0) + value for name, value in values.items()}

    def trained(self, step: TrainingStep) -> None:
        """A reward model took an optimizer step."""
        self.set(
            {"ser_train_loss": step.loss, "ser_train_gradient_norm": step.gradient_norm, "ser_train_learning_rate": step.learning_rate}
        )
        self.add({"ser_train_steps_total": 1, "ser_train_pairs_total": step.pairs, "ser_train_tokens_total": step.tokens})

    def fine_tuned(self, loss: float) -> None:
        """A policy took a step of supervised fine-tuning."""
        self.set({"ser_train_loss": loss})
        self.add({"ser_train_steps_total": 1})

    def aligned(self, step: StepMetrics) -> None:
        """A policy took a PPO step."""
        newest: dict[str, float | None] = {
            "ser_policy_reward": step.reward,
            "ser_policy_score": step.score,
            "ser_policy_witness_score": step.witness_score,
            "ser_policy_kl_nats": step.kl,
            "ser_policy_kl_coefficient": step.kl_coefficient,
            "ser_policy_entropy_nats": step.entropy,
            "ser_policy_answer_tokens": step.answer_tokens,
            "ser_policy_ended_ratio": step.ended,
            "ser_policy_distinct_ratio": step.distinct,
            "ser_policy_repeated_ratio": step.repeated,
            "ser_policy_distinct_triples_ratio": step.distinct_triples,
            "ser_policy_clipped_ratio": step.clipped,
            "ser_policy_loss": step.policy_loss,
            "ser_policy_value_loss": step.value_loss,
            "ser_policy_explained_variance_ratio": step.explained_variance,
            "ser_policy_gradient_norm": step.policy_gradient_norm,
            "ser_policy_critic_gradient_norm": step.critic_gradient_norm,
        }
        self.set({name: value for name, value in newest.items() if value is not None})
        self.add(
            {
                "ser_policy_steps_total": 1,
                "ser_policy_skipped_updates_total": step.skipped,
                "ser_policy_generate_seconds_total": step.generate_seconds,
                "ser_policy_score_seconds_total": step.score_seconds,
                "ser_policy_train_seconds_total": step.train_seconds,
            }
        )

    def store_retried(self) -> None:
        """A request to the store failed and is sent again."""
        self.add({"ser_stage_store_retries_total": 1})

    def values(self) -> dict[str, float]:
        """All values."""
        with self._lock:
            return dict(self._values)


def exposition(spec: StageSpec, started: datetime, progress: Mapping[str, Any] | None, measured: Mapping[str, float]) -> bytes:
    """The page in Prometheus' text format.

    Args:
        spec: The stage; names all series.
        started: Begin of the attempt.
        progress: ``step``, ``total`` and ``unit``; None before the first.
        measured: Values by name of the metric.
    """
    stage = (spec.run.namespace, spec.run.name, str(spec.iteration), spec.stage.value)
    registry = CollectorRegistry()
    registry.register(_Samples([(name, (*stage, *labels), value) for name, labels, value in _samples(spec, started, progress, measured)]))
    return generate_latest(registry)


def _samples(spec: StageSpec, started: datetime, progress: Mapping[str, Any] | None, measured: Mapping[str, float]) -> Iterator[Sample]:
    yield "ser_stage_attempt", (), spec.attempt
    yield "ser_stage_start_timestamp_seconds", (), started.timestamp()
    if progress is not None:
        yield "ser_stage_work_done", (progress["unit"],), progress["step"]
        yield "ser_stage_work_expected", (progress["unit"],), progress["total"]
    yield from ((name, (), value) for name, value in measured.items())
    yield from _memory()
    yield from _gpu_memory()


def _memory() -> Iterator[Sample]:
    statm = Path("/proc/self/statm")
    if statm.exists():
        yield "ser_stage_memory_bytes", (), int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _gpu_memory() -> Iterator[Sample]:
    """Memory of the GPUs that this process uses. Without CUDA in use nothing is asked: that would take hundreds of MB of each."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    for device in filter(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())):  # of the others this process sees nothing
        uses = {
            "allocated": torch.cuda.memory_allocated(device),
            "reserved": torch.cuda.memory_reserved(device),
            "peak": torch.cuda.max_memory_allocated(device),
            "total": torch.cuda.get_device_properties(device).total_memory,
        }
        yield from (("ser_stage_gpu_memory_bytes", (str(device), use), value) for use, value in uses.items())


class _Samples(Collector):
    """Samples as families."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        """One family a metric."""
        families: dict[str, Family] = {}
        for name, labels, value in self._samples:
            if name not in families:
                kind = CounterMetricFamily if METRICS[name].type == "counter" else GaugeMetricFamily
                families[name] = kind(name, METRICS[name].help, labels=METRICS[name].labels)
            families[name].add_metric(labels, value)
        yield from families.values()
