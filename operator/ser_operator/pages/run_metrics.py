"""What the status of a run says, as samples of the metrics in `ser_core.metrics`. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ser_core.api.known_part import read_status
from ser_core.api.run_template import resolved
from ser_core.api.serrun import RetriesSpec
from ser_core.api.status import IterationStatus, Monitors, Outcome, Phase, SERRunStatus, StageStatus
from ser_core.loop.deciding.attempts import attempts_of, charged
from ser_core.loop.deciding.ends import found_nothing
from ser_core.loop.deciding.stages import key_of
from ser_core.loop.deciding.stopping import falls
from ser_operator.facts.reading import Object, at, moment

Labels = tuple[str, ...]


class Sample(NamedTuple):
    """One value of a metric; the labels stand in the order of the table."""

    metric: str
    labels: Labels
    value: float


def samples(body: Object) -> Iterator[Sample]:
    """The samples of a run. A value that it does not have gives none."""
    run = _name(body)
    status = read_status(body.get("status") or {})
    yield from _spec(run, body)
    yield from (Sample(one.metric, (*run, *one.labels), one.value) for one in _run(status))
    for row in status.iterations:
        yield from (Sample(one.metric, (*run, str(row.iteration), *one.labels), one.value) for one in _iteration(row))


def waiting_samples(body: Object, now: datetime) -> Iterator[Sample]:
    """For how long a run has waited at ``now``; none where it does not wait."""
    status = at(body, "status")
    since = _seconds(status.get("waitingSince"))
    if since is not None:
        yield Sample("ser_run_waiting_seconds", (*_name(body), waits_for(read_status(status))), max(0.0, now.timestamp() - since))


def waits_for(status: SERRunStatus) -> str:
    """The reason of a run that waits; while an attempt only looks whether the world is back, that of the attempt before."""
    if status.phase is Phase.RUNNING:
        ended = [row.reason for row in status.stages if row.outcome not in (Outcome.RUNNING, Outcome.DONE) and not found_nothing(row)]
        return ended[-1] if ended else Phase.RUNNING.value
    return next((one.reason for one in status.conditions if one.type == "Ready"), status.phase.value)


def _name(body: Object) -> Labels:
    metadata = at(body, "metadata")
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _spec(run: Labels, body: Object) -> Iterator[Sample]:
    spec = at(resolved(body), "spec")
    loop = at(spec, "loop")
    yield Sample("ser_run_info", (*run, str(at(spec, "rewardModel").get("base", "")), str(spec.get("queueName") or "")), 1)
    if isinstance(most := loop.get("maxIterations"), int):
        yield Sample("ser_run_max_iterations", run, most)
    limit = at(spec, "retries").get("limit")
    yield Sample("ser_run_retries_limit", run, limit if isinstance(limit, int) else RetriesSpec().limit)
    yield from _moment("ser_run_created_timestamp_seconds", run, at(body, "metadata").get("creationTimestamp"))


def _run(status: SERRunStatus) -> Iterator[Sample]:
    """Samples without the run's own labels."""
    yield Sample("ser_run_phase", (status.phase,), 1)
    yield from (Sample("ser_run_condition", (one.type,), one.status == "True") for one in status.conditions)
    if status.stage is not None:
        yield Sample("ser_run_stage", (status.stage,), 1)
    if status.learning_status is not None:
        yield Sample("ser_run_learning_status", (status.learning_status,), 1)
    yield Sample("ser_run_iteration", (), status.iteration)
    yield Sample("ser_run_gpu_seconds_total", (), status.gpu_hours * 3600)
    yield from _known({"ser_run_best_iteration": status.best_iteration})
    yield from _known({"ser_run_cut_ratio": status.reward_model.cut_fraction if status.reward_model else None})
    yield Sample("ser_run_accuracy_falls", (), falls(status.iterations))
    if status.progress is not None:
        yield Sample("ser_run_progress_ratio", (), status.progress.percent / 100)
    stored = status.stored.by_kind() if status.stored is not None else {}
    yield from (Sample("ser_run_stored_bytes", (kind,), size) for kind, size in stored.items())
    yield from _moment("ser_run_started_timestamp_seconds", (), status.started_at)
    yield from _moment("ser_run_finished_timestamp_seconds", (), status.finished_at)
    yield from _attempts(status)
    if (policy := status.policy) is not None:
        yield Sample("ser_run_policy_score", (), policy.score)
        yield Sample("ser_run_policy_baseline_score", (), policy.baseline_score)
        yield Sample("ser_run_policy_kl_nats", (), policy.kl)
        yield Sample("ser_run_policy_steps", (), policy.steps)
    yield from (Sample("ser_run_control_accuracy_ratio", (one.control,), one.accuracy) for one in status.controls)


def _attempts(status: SERRunStatus) -> Iterator[Sample]:
    if status.stages:
        newest = status.stages[-1]
        yield Sample("ser_run_stage_attempt", (newest.stage,), newest.attempt)
        yield Sample("ser_run_stage_charged_attempts", (newest.stage,), len(charged(attempts_of(status, key_of(newest)))))
    failures = Counter((row.stage.value, row.reason) for row in status.stages if _failed(row))
    yield from (Sample("ser_run_failed_attempts", labels, number) for labels, number in failures.items())


def _failed(row: StageStatus) -> bool:
    return row.outcome in (Outcome.FAILED, Outcome.LOST) and not found_nothing(row)


def _iteration(row: IterationStatus) -> Iterator[Sample]:
    """Samples without the labels of the run and of the loop."""
    yield Sample("ser_iteration_info", (row.learning_status,), 1)
    yield from _known({"ser_iteration_accuracy_ratio": row.dev_accuracy}, "dev")
    heldout = {"": row.accuracy, "low_": row.accuracy_low, "high_": row.accuracy_high}
    yield from _known({f"ser_iteration_accuracy_{end}ratio": value for end, value in heldout.items()}, "heldout")
    if row.labeled:
        yield Sample("ser_iteration_pairs", ("kept",), row.kept)
        yield Sample("ser_iteration_pairs", ("dropped",), row.labeled - row.kept)
        yield Sample("ser_iteration_kept_ratio", (), row.kept_fraction)
    if row.dev_accuracy is not None:
        yield Sample("ser_iteration_repeated_trainings", (), row.repeated or 0)
        yield Sample("ser_iteration_collapsed", (), row.collapsed)
    if row.monitors is not None:
        yield from _known(_monitored(row.monitors))
    yield from _known(
        {
            "ser_iteration_gain_ratio": row.gain,
            "ser_iteration_dev_loss": row.dev_loss,
            "ser_iteration_loss_gain_nats": row.loss_gain,
            "ser_iteration_agreement_ratio": row.agreement,
            "ser_iteration_threshold_ratio": row.threshold,
            "ser_iteration_temperature": row.temperature,
            "ser_iteration_duration_seconds": _seconds_between(row.started_at, row.finished_at),
        }
    )


def _monitored(monitors: Monitors) -> Mapping[str, float | None]:
    return {
        "ser_iteration_same_labels_ratio": monitors.same_labels,
        "ser_iteration_score": monitors.score,
        "ser_iteration_margin": monitors.margin,
        "ser_iteration_confidence_ratio": monitors.confidence,
        "ser_iteration_confidence_right_ratio": monitors.right,
        "ser_iteration_easier_ratio": monitors.easier,
    }


def _known(values: Mapping[str, float | None], *labels: str) -> Iterator[Sample]:
    yield from (Sample(metric, labels, value) for metric, value in values.items() if value is not None)


def _moment(metric: str, labels: Labels, text: Any) -> Iterator[Sample]:
    moment = _seconds(text)
    if moment is not None:
        yield Sample(metric, labels, moment)


def _seconds_between(start: str, end: str | None) -> float | None:
    first, last = _seconds(start), _seconds(end)
    return None if first is None or last is None else last - first


def _seconds(text: Any) -> float | None:
    found = moment(text)
    return None if found is None else found.timestamp()
