"""Which Jobs of a run nothing needs any more. Pure.

What a stage has committed stands in the status, its outputs and its log stand in the store (`ser logs`). Its Job and pods then only fill
etcd, every watch and the operator's memory. They stay for ten minutes, since somebody may follow the log, and collectors of logs and
metrics come by once more. The Job of the last failed attempt stays longer, so that `kubectl logs` tells what happened.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ser_core.api.serrun import SERRun
from ser_core.api.values.amounts import duration_seconds
from ser_core.loop.deciding.stages import live_attempt
from ser_core.loop.observed import Plan
from ser_operator.facts.pods.attempts_from_pods import identity_of, is_held
from ser_operator.facts.reading import Object, by_owner, deleting_since, finished_at, moment, name, state_of, uid
from ser_operator.facts.view import View

KEPT_AFTER_STAGE = timedelta(minutes=10)
KEPT_AFTER_RUN = timedelta(days=7)
"""Of runs without ttlAfterFinished. A failed run is looked into after a weekend, too."""


def needless(view: View, planned: Plan) -> list[Object]:
    """Jobs to delete once ``planned`` is recorded."""
    return [job for job, until in _ends(view, planned) if until <= view.now and identity_of(view.run, job) is not None]


def seconds_to_needless(view: View, planned: Plan) -> float | None:
    """When `needless` may find more; None: never."""
    waits = [(until - view.now).total_seconds() for _, until in _ends(view, planned) if until > view.now]
    if not is_settled(view, planned) and view.jobs:
        waits.append(1.0)  # what is old already is found by the next reconcile
    return max(1.0, min(waits)) if waits else None


def is_settled(view: View, planned: Plan) -> bool:
    """Whether the plan is to leave a run as it is. While a status changes, above all while a lost one is rebuilt, Jobs may tell more."""
    return not planned.actions and planned.status == view.run.status


def _ends(view: View, planned: Plan) -> list[tuple[Object, datetime]]:
    """Until when each Job is kept, where there is an end."""
    live = live_attempt(planned.status)
    others = [job for job in view.jobs if deleting_since(job) is None and (live is None or name(job) != live.job)]
    going = [job for job in others if state_of(job) == "running"]
    pods = by_owner(view.pods) if going else {}
    held = [job for job in going if is_held(job, pods.get(uid(job), []))]
    found = [(job, datetime.min.replace(tzinfo=UTC)) for job in held]
    if not is_settled(view, planned):
        return found
    run_end, failed = _end_of_all(view.run), _last_failed(others)
    for job in others:
        finished = None if job in going or job is failed else finished_at(job)
        ends = [end for end in (run_end, finished + KEPT_AFTER_STAGE if finished is not None else None) if end is not None]
        found += [(job, min(ends))] if ends and job not in held else []
    return found


def _end_of_all(run: SERRun) -> datetime | None:
    finished, ttl = moment(run.status.finished_at), run.spec.ttl_after_finished
    if not run.status.has_ended or finished is None:
        return None
    return finished + (timedelta(seconds=duration_seconds(ttl)) if ttl is not None else KEPT_AFTER_RUN)


def _last_failed(jobs: Sequence[Object]) -> Object | None:
    failed = [(finished, job) for job in jobs if state_of(job) == "failed" and (finished := finished_at(job)) is not None]
    return max(failed, key=lambda one: one[0])[1] if failed else None
