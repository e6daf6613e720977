"""Since when a run waits for the world, and when that has become so long that a person should look."""

from datetime import datetime, timedelta

from ser_core.api.status import Phase, SERRunStatus, Time
from ser_core.loop.deciding.attempts import RECOVERED_AFTER, attempts_of, faults_of_the_world
from ser_core.loop.deciding.stages import key_of, live_attempt
from ser_core.loop.text import read_time, write_time

PHASES = (Phase.QUEUED, Phase.WAITING)
"""Phases in which a run waits for the world."""
STALLED_AFTER = timedelta(hours=1)


def waiting_since(status: SERRunStatus, phase: Phase, now: datetime) -> Time | None:
    """Since when a run in ``phase`` waits; None: it does not.

    Args:
        status: With the live attempt of now, and the value of the last plan.
        phase: Of now.
        now: Aware.
    """
    if phase in PHASES:
        return status.waiting_since or write_time(now)
    return status.waiting_since if phase is Phase.RUNNING and _only_looks_again(status, now) else None


def too_long(since: Time | None, phase: Phase, now: datetime) -> bool:
    """Whether a run has waited so long that it is Stalled."""
    return since is not None and phase in PHASES and now >= read_time(since) + STALLED_AFTER


def seconds_until_too_long(since: Time | None, phase: Phase, now: datetime) -> float | None:
    """When it will be; None: it does not wait, or already is."""
    if since is None or phase not in PHASES or too_long(since, phase, now):
        return None
    return (read_time(since) + STALLED_AFTER - now).total_seconds()


def _only_looks_again(status: SERRunStatus, now: datetime) -> bool:
    """Whether the live attempt has just begun after a fault of the world, so that nobody knows yet whether the world is back."""
    live = live_attempt(status)
    if live is None:
        return False
    earlier = [row for row in attempts_of(status, key_of(live)) if row is not live]
    return bool(faults_of_the_world(earlier)) and now < read_time(live.started_at) + RECOVERED_AFTER
