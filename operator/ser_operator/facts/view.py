"""All that is known of a run at one moment, and what follows from it without the planner. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ser_core.api.serrun import SERRun
from ser_core.api.status import StageStatus
from ser_core.loop.deciding.stages import live_attempt
from ser_core.loop.observed import Leg
from ser_operator.facts.pods.attempts_from_pods import have_succeeded
from ser_operator.facts.pods.glance import NO_GLANCE, Glance
from ser_operator.facts.reading import Object, at, created_at, name, owner_uid, state_of, uid
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
    legs: Mapping[str, tuple[Leg, ...]] = field(default_factory=dict)
    """When the pods of each Job ran, also those that are gone, by the UID of the Job."""


def has_ended(view: View) -> bool:
    """Whether the live attempt's Job has ended, so that there is something to do whatever the plan."""
    job = live_job(view)
    return job is not None and state_of(job) != "running"


def ends_unseen(live: StageStatus | None, view: View, jobs: Sequence[Object]) -> bool:
    """Whether a Job that already existed when it was to be created has ended: maybe no watch reports it again."""
    job = named(live.job, jobs) if live is not None else None
    return job is not None and state_of(job) != "running" and named(name(job), view.jobs) is None


def unwatched(view: View) -> bool:
    """Whether the live attempt's Job has lost the labels that the watch selects by, so that the watch no longer reports it."""
    job = live_job(view)
    return job is not None and not labels.are_selected(job["metadata"].get("labels") or {}, view.run.spec.operator_class)


def may_be_gone(view: View, seconds: float) -> bool:
    """Whether the live attempt's Job has had no pod for ``seconds``, though no queue holds it.

    Somebody may have deleted it between its creation and the begin of a watch, which tells nothing of what went before it.
    """
    job = live_job(view)
    if job is None or at(job, "spec").get("suspend") or any(owner_uid(pod) == uid(job) for pod in view.pods):
        return False
    made = created_at(job)
    return made is not None and (view.now - made).total_seconds() >= seconds


def live_job(view: View) -> Object | None:
    """The Job of the live attempt, if it is seen."""
    live = live_attempt(view.run.status)
    return None if live is None else named(live.job, view.jobs)


def open_jobs(run: SERRun, jobs: Sequence[Object], pods: Sequence[Object]) -> set[str]:
    """Names of the Jobs of a run that can still change: all that have not ended, and that of the live attempt, seen or not.

    Not one that has succeeded with all its pods, as a hand-over finds it: nothing about it can change any more.
    """
    live = live_attempt(run.status)
    wanted = {name(job) for job in jobs if state_of(job) == "running"} | ({live.job} if live is not None else set())
    return wanted - {name(job) for job in jobs if have_succeeded(job, [pod for pod in pods if owner_uid(pod) == uid(job)])}


def named(wanted: str, jobs: Sequence[Object]) -> Object | None:
    """The Job of a name."""
    return next((job for job in jobs if name(job) == wanted), None)
