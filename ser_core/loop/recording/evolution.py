"""What a committed stage adds to the status: iterations, the best reward model, the policy, controls, and what decisions rest on."""

from ser_core.api.stage import FilterMetrics, PolicyMetrics, RetrainMetrics, StageMetrics
from ser_core.api.status import (
    ControlStatus,
    IterationStatus,
    LearningStatus,
    Monitors,
    PolicyStatus,
    RewardModelStatus,
    SERRunStatus,
    StageKind,
    StageStatus,
)
from ser_core.loop.deciding import stopping
from ser_core.loop.deciding.stages import CONTROL_OF_STAGE, StageKey, committed
from ser_core.loop.deciding.stopping import ratio
from ser_core.loop.recording.digests import short_digest
from ser_core.loop.text import as_reason, clip

NOTES_BYTES = 240


def record(status: SERRunStatus, row: StageStatus, metrics: StageMetrics) -> tuple[SERRunStatus, str]:
    """``status`` with the metrics of the just committed ``row``, and one sentence on what they rest on."""
    if isinstance(metrics, FilterMetrics):
        return _record_filter(status, row, metrics), clip("; ".join(metrics.notes), NOTES_BYTES)
    if isinstance(metrics, RetrainMetrics):
        if row.stage in CONTROL_OF_STAGE:
            return _record_control(status, row, metrics), clip("; ".join(metrics.notes), NOTES_BYTES)
        rests_on = stopping.evidence(metrics, stopping.best(status.iterations))
        told = (*metrics.notes, rests_on) if metrics.collapsed else (rests_on, *metrics.notes)  # what matters most is not cut off
        return _record_retrain(status, row, metrics), clip("; ".join(told), NOTES_BYTES)
    if isinstance(metrics, PolicyMetrics):
        return _record_policy(status, row, metrics), clip("; ".join(metrics.notes), NOTES_BYTES)
    return status, ""


def _record_filter(status: SERRunStatus, row: StageStatus, metrics: FilterMetrics) -> SERRunStatus:
    stop = metrics.learning_status is LearningStatus.STOP
    label = committed(status).get(StageKey(row.iteration, StageKind.LABEL), row)
    iteration = IterationStatus(
        iteration=row.iteration,
        learning_status=metrics.learning_status,
        labeled=metrics.labeled,
        kept=0 if stop else metrics.kept,
        kept_fraction=0.0 if stop else ratio(metrics.kept_fraction),
        agreement=_ratio(metrics.agreement),
        threshold=_ratio(metrics.threshold),
        monitors=_monitors(metrics.monitors),
        started_at=label.started_at,
        finished_at=row.finished_at if stop else None,
    )
    return status.model_copy(update={"iterations": (*status.iterations, iteration)})


def _record_retrain(status: SERRunStatus, row: StageStatus, metrics: RetrainMetrics) -> SERRunStatus:
    seed = IterationStatus(iteration=0, learning_status=LearningStatus.SEED, started_at=row.started_at)
    current = seed if row.iteration == 0 else status.iterations[-1]
    before = status.iterations[: row.iteration]
    dev_accuracy = ratio(metrics.dev.accuracy)
    evaluated = current.model_copy(
        update={
            "dev_accuracy": dev_accuracy,
            "dev_loss": ratio(metrics.dev.log_loss),
            "gain": stopping.gain(dev_accuracy, before),
            "folds": metrics.folds,
            "loss_gain": _ratio(metrics.loss_gain),
            "loss_gain_error": _ratio(metrics.loss_gain_error),
            "collapsed": metrics.collapsed,
            "repeated": metrics.trainings - 1 or None,
            "accuracy": ratio(metrics.heldout.accuracy),
            "accuracy_low": ratio(metrics.heldout.accuracy_low),
            "accuracy_high": ratio(metrics.heldout.accuracy_high),
            "temperature": ratio(metrics.temperature),
            "finished_at": row.finished_at,
        }
    )
    iterations = (*before, evaluated)
    best = stopping.best(iterations)
    digests = (*status.digests, *("" for _ in before))[: row.iteration]
    status = status.model_copy(update={"iterations": iterations, "digests": (*digests, short_digest(row.manifest_sha256 or ""))})
    return _with_best(status, row, metrics) if best is not None and best.iteration == row.iteration else status


def _with_best(status: SERRunStatus, row: StageStatus, metrics: RetrainMetrics) -> SERRunStatus:
    model = RewardModelStatus(
        uri=row.manifest or "",
        manifestSHA256=row.manifest_sha256 or "",
        accuracy=status.iterations[-1].accuracy or 0.0,
        pairs=metrics.heldout.pairs,
        groups=metrics.heldout.groups,
        length_only_accuracy=ratio(metrics.heldout.length_only_accuracy),
        cut_fraction=ratio(metrics.truncated / max(1, metrics.seed_pairs + metrics.self_labeled_pairs)),
    )
    return status.model_copy(update={"best_iteration": row.iteration, "reward_model": model})


def _record_control(status: SERRunStatus, row: StageStatus, metrics: RetrainMetrics) -> SERRunStatus:
    control = ControlStatus(
        control=CONTROL_OF_STAGE[row.stage].value,
        accuracy=ratio(metrics.heldout.accuracy),
        accuracy_low=ratio(metrics.heldout.accuracy_low),
        accuracy_high=ratio(metrics.heldout.accuracy_high),
        digest=short_digest(row.manifest_sha256 or ""),
    )
    return status.model_copy(update={"controls": (*status.controls, control)})


def _record_policy(status: SERRunStatus, row: StageStatus, metrics: PolicyMetrics) -> SERRunStatus:
    policy = PolicyStatus(
        uri=row.manifest or "",
        manifestSHA256=row.manifest_sha256 or "",
        score=ratio(metrics.after.score),
        baseline_score=ratio(metrics.before.score),
        kl=ratio(metrics.after.kl),
        steps=metrics.kept_step,
        stopped=as_reason(metrics.stopped) if metrics.stopped else "",
    )
    return status.model_copy(update={"policy": policy})


def _monitors(monitors: Monitors | None) -> Monitors | None:
    """In few bytes: the manifest of the stage has all of it."""
    if monitors is None:
        return None
    rounded = {name: round(value, 3) for name, value in monitors if isinstance(value, float)}
    return monitors.model_copy(update={**rounded, "as_sure": None})


def _ratio(value: float | None) -> float | None:
    return None if value is None else ratio(value)
