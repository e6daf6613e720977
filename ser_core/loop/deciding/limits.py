"""What a run may take: its deadline, its GPU budget, and the user's wish to suspend it."""

import math
from datetime import datetime

from ser_core.api.serrun import SERRun, duration_seconds
from ser_core.api.status import Phase, SERRunStatus, StageStatus
from ser_core.loop.observed import ObservedAttempt
from ser_core.loop.text import read_time, write_time

SUSPENDED = Phase.SUSPENDED.value
BUDGET_EXCEEDED = Phase.BUDGET_EXCEEDED.value
DEADLINE_EXCEEDED = "DeadlineExceeded"

_SECONDS_PER_HOUR = 3600


def gpu_hours(row: StageStatus, seen: ObservedAttempt | None, now: datetime) -> float:
    """GPU-hours of an attempt up to its end, or up to ``now`` while no end is known."""
    begin = (seen.started_at if seen is not None else None) or read_time(row.started_at)
    end = (seen.finished_at if seen is not None else None) or now
    return round(row.gpus * max(0.0, (end - begin).total_seconds()) / _SECONDS_PER_HOUR, 6)


def why_to_stop(run: SERRun, status: SERRunStatus, live_hours: float, now: datetime) -> str | None:
    """Reason for which nothing may run now; ``live_hours`` are the GPU-hours of the live attempt so far."""
    deadline = _deadline_left(run, status, now)
    if deadline is not None and deadline <= 0:
        return DEADLINE_EXCEEDED
    if run.spec.suspend:
        return SUSPENDED
    budget = run.spec.budget
    if budget is not None and status.gpu_hours + live_hours >= budget.gpu_hours:
        return BUDGET_EXCEEDED
    return None


def seconds_left(run: SERRun, status: SERRunStatus, gpus: int, live_hours: float, now: datetime) -> int | None:
    """Whole seconds that deadline and budget leave to an attempt with ``gpus`` GPUs, at least 1; None: no limit."""
    left = (deadline_seconds(run, status, now), budget_seconds(run, status, gpus, live_hours))
    return min((seconds for seconds in left if seconds is not None), default=None)


def deadline_seconds(run: SERRun, status: SERRunStatus, now: datetime) -> int | None:
    """Whole seconds until the run's deadline, at least 1; None: it has none."""
    left = _deadline_left(run, status, now)
    return None if left is None else max(1, math.ceil(left))


def budget_seconds(run: SERRun, status: SERRunStatus, gpus: int, live_hours: float = 0.0) -> int | None:
    """Whole seconds that the budget allows ``gpus`` GPUs, at least 1; None: no limit."""
    if run.spec.budget is None or not gpus:
        return None
    left = run.spec.budget.gpu_hours - status.gpu_hours - live_hours
    return max(1, math.ceil(left * _SECONDS_PER_HOUR / gpus))


def _deadline_left(run: SERRun, status: SERRunStatus, now: datetime) -> float | None:
    """Seconds until the deadline, suspended time excluded. Before the first start all of it is left."""
    if run.spec.active_deadline is None:
        return None
    allowed = duration_seconds(run.spec.active_deadline)
    if status.started_at is None:
        return allowed
    clock = read_time(status.suspended_at) if status.suspended_at else now
    return allowed - ((clock - read_time(status.started_at)).total_seconds() - status.suspended_seconds)


def count_suspension(status: SERRunStatus, suspended: bool, now: datetime) -> SERRunStatus:
    """``status`` with the clock of the suspension started, stopped, or left as it is."""
    if suspended and status.suspended_at is None:
        return status.model_copy(update={"suspended_at": write_time(now)})
    if not suspended and status.suspended_at is not None:
        seconds = int((now - read_time(status.suspended_at)).total_seconds()) if status.started_at else 0
        return status.model_copy(update={"suspended_at": None, "suspended_seconds": status.suspended_seconds + max(0, seconds)})
    return status
