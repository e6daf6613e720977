"""From the view of a run to the plan for it. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ser_core.loop.observed import Observed, ObservedAttempt, Plan, StartStage, Waiting
from ser_core.loop.plan import plan
from ser_operator.facts.outdated import is_outdated
from ser_operator.facts.pods.attempts_from_pods import attempts
from ser_operator.facts.pods.legs import pods_at_once
from ser_operator.facts.reading import uid
from ser_operator.facts.serruns.allow_lists import judged, refusal, unsupported
from ser_operator.facts.view import View, named
from ser_operator.settings import Settings

BLOCKED = timedelta(seconds=30)
"""Pause before a refused Job is tried again: two tries a minute."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A Job that could not be created. Until the time is over, or the spec changes, it is not tried again, whatever happens meanwhile."""

    job: str
    generation: int
    since: datetime
    waiting: Waiting

    @property
    def until(self) -> datetime:
        """When it is tried again."""
        return self.since + BLOCKED

    def holds(self, now: datetime) -> bool:
        """Whether it is not tried again yet. A clock that was set back does not lengthen it."""
        return self.since <= now < self.until

    def stands(self, view: View, planned: Plan) -> bool:
        """Whether it keeps ``planned`` from being carried out."""
        wanted = any(isinstance(action, StartStage) and action.job == self.job for action in planned.actions)
        return wanted and self.holds(view.now) and view.run.metadata.generation == self.generation


def decide(view: View, settings: Settings, refused: Refused | None = None) -> Plan:
    """What to do for a run, where ``refused`` was not possible the last time."""
    planned = _plan(view, settings, unsupported(view.run))
    return _plan(view, settings, refused.waiting) if refused is not None and refused.stands(view, planned) else planned


def _plan(view: View, settings: Settings, blocked: Waiting | None) -> Plan:
    found, digest = attempts(view.run, view.jobs, view.pods, view.now), judged(view.body, view.run)
    observed = Observed(
        attempts=tuple(_with_legs(attempt, view) for attempt in found),
        waiting=view.glance.waiting,
        blocked=blocked,
        outdated=is_outdated(view, settings),
        progress=view.glance.progress,
        refusal=refusal(view.body, view.run, settings, digest),
        judged=digest,
        image=settings.image,
        threads=settings.default_threads,
    )
    return plan(view.run, observed, view.now)


def _with_legs(attempt: ObservedAttempt, view: View) -> ObservedAttempt:
    job = named(attempt.job, view.jobs)
    if job is None:
        return attempt
    return replace(attempt, legs=view.legs.get(uid(job), ()), pods=pods_at_once(job))
