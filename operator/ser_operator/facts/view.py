"""All that is known of a run at one moment, and what follows from it without the planner. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ser_core.api.serrun import SERRun, duration_seconds
from ser_core.api.status import StageStatus
from ser_core.loop.deciding.stages import live_attempt
from ser_core.loop.observed import Plan
from ser_core.loop.plan import TERMINAL
from ser_core.loop.text import read_time
from ser_operator.facts.attempts_from_pods import identity_of
from ser_operator.facts.glance import NO_GLANCE, Glance
from ser_operator.facts.reading import Object, deleting_since, name, state_of
from ser_operator.objects import labels


@dataclass(frozen=True, slots=True)
class View:
    """All that is known of a run at one moment."""

    body: Object
    run: SERRun
    jobs: Sequence[Object]
    pods: Sequence[Object]
    now: datetime
    glance: Glance = NO_GLANCE


def expired(view: View) -> list[Object]:
    """Jobs of an ended run whose time has passed (ttlAfterFinished); without one they stay until the run is deleted."""
    end = _expiry(view.run)
    if end is None or view.now < end:
        return []
    return [job for job in view.jobs if deleting_since(job) is None and identity_of(view.run, job) is not None]


def _expiry(run: SERRun) -> datetime | None:
    ttl, finished = run.spec.ttl_after_finished, run.status.finished_at
    if run.status.phase not in TERMINAL or ttl is None or finished is None:
        return None
    return read_time(finished) + timedelta(seconds=duration_seconds(ttl))


def seconds_to_expiry(planned: Plan, view: View) -> float | None:
    """When `expired` will find some; None: never."""
    end = _expiry(view.run.model_copy(update={"status": planned.status}))
    return None if end is None else max(1.0, (end - view.now).total_seconds())


def nothing_to_do(view: View, planned: Plan) -> bool:
    """Whether the plan for a run is to leave it as it is."""
    return not planned.actions and planned.status == view.run.status and not expired(view)


def has_ended(view: View) -> bool:
    """Whether the live attempt's Job has ended, so that there is something to do whatever the plan."""
    job = live_job(view)
    return job is not None and state_of(job) != "running"


def ends_unseen(live: StageStatus | None, view: View, jobs: Sequence[Object]) -> bool:
    """Whether a Job that already existed when it was to be created has ended: maybe no watch reports it again."""
    job = named(live.job, jobs) if live is not None else None
    return job is not None and state_of(job) != "running" and named(name(job), view.jobs) is None


def unwatched(view: View) -> bool:
    """Whether the live attempt's Job has lost the label that the watch selects by, so that the watch no longer reports it."""
    job = live_job(view)
    return job is not None and (job["metadata"].get("labels") or {}).get(labels.MANAGED_BY) != labels.OPERATOR


def live_job(view: View) -> Object | None:
    """The Job of the live attempt, if it is seen."""
    live = live_attempt(view.run.status)
    return None if live is None else named(live.job, view.jobs)


def named(wanted: str, jobs: Sequence[Object]) -> Object | None:
    """The Job of a name."""
    return next((job for job in jobs if name(job) == wanted), None)
