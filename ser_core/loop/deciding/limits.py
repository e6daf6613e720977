"""What a run may take: its deadline, its GPU budget, and the user's wish to suspend it."""

import math
from datetime import datetime

from ser_core.api.serrun import SERRun
from ser_core.api.status import Phase, SERRunStatus
from ser_core.api.values.amounts import duration_seconds
from ser_core.loop.deciding.spent import NOTHING, Spent
from ser_core.loop.deciding.stages import live_attempt
from ser_core.loop.text import read_time, write_time

SUSPENDED = Phase.SUSPENDED.value
BUDGET_EXCEEDED = Phase.BUDGET_EXCEEDED.value
DEADLINE_EXCEEDED = "DeadlineExceeded"

_SECONDS_PER_HOUR = 3600


def why_to_stop(run: SERRun, status: SERRunStatus, live: Spent = NOTHING) -> str | None:
    """Reason for which nothing may run now; ``live`` is what the live attempt has taken so far."""
    deadline = _deadline_left(run, status, live)
    if deadline is not None and deadline <= 0:
        return DEADLINE_EXCEEDED
    if run.spec.suspend:
        return SUSPENDED
    budget = _budget_left(run, status, live)
    return BUDGET_EXCEEDED if budget is not None and budget <= 0 else None


def seconds_left(run: SERRun, status: SERRunStatus, gpus: int, live: Spent = NOTHING) -> int | None:
    """Whole seconds for which deadline and budget let an attempt with ``gpus`` GPUs run, at least 1; None: no limit."""
    deadline, hours = _deadline_left(run, status, live), _budget_left(run, status, live)
    left = (deadline, hours * _SECONDS_PER_HOUR / gpus if hours is not None and gpus else None)
    return min((max(1, math.ceil(seconds)) for seconds in left if seconds is not None), default=None)


def _deadline_left(run: SERRun, status: SERRunStatus, live: Spent) -> float | None:
    if run.spec.active_deadline is None:
        return None
    return duration_seconds(run.spec.active_deadline) - (status.admitted_seconds or 0.0) - live.seconds


def _budget_left(run: SERRun, status: SERRunStatus, live: Spent) -> float | None:
    return None if run.spec.budget is None else run.spec.budget.gpu_hours - status.gpu_hours - live.gpu_hours


def with_admitted_time(status: SERRunStatus, now: datetime) -> SERRunStatus:
    """``status`` with the time that the run's ended attempts have taken.

    One from before that was recorded has taken what was counted then: all time from its start to its live attempt, or to now, that it
    was not suspended.
    """
    if status.admitted_seconds is not None or status.started_at is None:
        return status
    live = live_attempt(status)
    until = live.started_at if live is not None else status.suspended_at
    seconds = ((read_time(until) if until is not None else now) - read_time(status.started_at)).total_seconds()
    return status.model_copy(update={"admitted_seconds": max(0.0, seconds - status.suspended_seconds)})


def count_suspension(status: SERRunStatus, suspended: bool, now: datetime) -> SERRunStatus:
    """``status`` with the clock of the suspension started, stopped, or left as it is."""
    if suspended and status.suspended_at is None:
        return status.model_copy(update={"suspended_at": write_time(now)})
    if not suspended and status.suspended_at is not None:
        seconds = int((now - read_time(status.suspended_at)).total_seconds()) if status.started_at else 0
        return status.model_copy(update={"suspended_at": None, "suspended_seconds": status.suspended_seconds + max(0, seconds)})
    return status
