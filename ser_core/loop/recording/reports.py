"""Taking in what the executor saw: the live attempt's end, and attempts that a crash kept out of the status.

An executor carries out actions before it writes the status. So an attempt that the status misses, but that is just the one that would
be started now, was started by a plan whose status was lost: it is adopted. Any other unknown attempt changes nothing.
"""

from datetime import datetime

from ser_core.api.serrun import SERRun
from ser_core.api.stage import STAGE_SPEC_VERSION
from ser_core.api.status import Outcome, SERRunStatus, StageStatus
from ser_core.loop.deciding.ends import charge_lost, end_attempt, forgive
from ser_core.loop.deciding.limits import why_to_stop, with_admitted_time
from ser_core.loop.deciding.spent import count, count_to, spent
from ser_core.loop.deciding.stages import PREPARE, committed, frozen_image, key_of, live_attempt
from ser_core.loop.deciding.upcoming import upcoming_attempt
from ser_core.loop.observed import Observed, ObservedAttempt
from ser_core.loop.recording.evolution import record
from ser_core.loop.text import clip, write_time

CHANGED_BEFORE_START = "ChangedBeforeStart"
"""Reason of an attempt that is made anew because what it asks for was changed before it began to run."""


def take_in(run: SERRun, observed: Observed, now: datetime) -> SERRunStatus:
    """The run's status after everything that can be learned from ``observed``."""
    status = _end_live(run, with_admitted_time(run.status, now), observed, now)
    while (upcoming := upcoming_attempt(run, status, now)) is not None and (seen := seen_of(upcoming, observed)) is not None:
        begin = write_time(seen.started_at or now)
        status = with_attempt(status, upcoming.model_copy(update={"started_at": begin, "mode": seen.mode}), observed)
        status = _end_live(run, status, observed, now)
    return status


def with_attempt(status: SERRunStatus, row: StageStatus, observed: Observed) -> SERRunStatus:
    """``status`` with a started attempt. What every later stage must share is what was offered before the first commit."""
    update: dict[str, object] = {"stages": (*status.stages, row)}
    if status.started_at is None:
        update |= {"started_at": row.started_at, "admitted_seconds": 0.0}
    if PREPARE not in committed(status):
        update |= {
            "image": clip(frozen_image(status, observed.image)),
            "threads": observed.threads,
            "stage_spec_version": STAGE_SPEC_VERSION,
        }
    return status.model_copy(update=update)


def seen_of(row: StageStatus, observed: Observed) -> ObservedAttempt | None:
    """What was seen of an attempt; of two reports the one that says more."""
    identity = (row.iteration, row.stage, row.attempt, row.job)
    reports = [seen for seen in observed.attempts if (seen.iteration, seen.stage, seen.attempt, seen.job) == identity]
    return max(reports, key=lambda seen: (seen.state != "running", seen.result is not None), default=None)


def _end_live(run: SERRun, status: SERRunStatus, observed: Observed, now: datetime) -> SERRunStatus:
    live = live_attempt(status)
    if live is None:
        return status
    seen = seen_of(live, observed)
    taken = spent(live.gpus, status.counted, seen, now)
    why = live.reason or why_to_stop(run, status, taken) or (CHANGED_BEFORE_START if observed.outdated else "")
    others = tuple(row for row in status.stages if row.outcome is not Outcome.RUNNING)
    if seen is not None and seen.state == "running":
        # What made it stop stays counted, so that a pod's clock that is behind ours does not start it again.
        kept = (live.gpus, status.counted, seen)
        counted = count(*kept, now) if why == live.reason else count_to(now, *kept)
        live = live.model_copy(update={"reason": why})
        return status.model_copy(update={"stages": (*others, live), "counted": counted})
    earlier = [row for row in others if key_of(row) == key_of(live)]
    row = end_attempt(live.model_copy(update={"reason": why}), seen, now)
    forgiven = why == CHANGED_BEFORE_START and row.outcome is Outcome.INTERRUPTED
    row = row.model_copy(update={"gpu_hours": taken.gpu_hours, "forgiven": forgiven})
    rows = forgive(charge_lost((*earlier, row)))
    stages = (*(row for row in others if row not in earlier), *rows)
    admitted, hours = round((status.admitted_seconds or 0.0) + taken.seconds, 3), round(status.gpu_hours + taken.gpu_hours, 6)
    status = status.model_copy(update={"stages": stages, "admitted_seconds": admitted, "gpu_hours": hours, "counted": None})
    if row.outcome is Outcome.DONE and seen is not None and seen.result is not None and seen.result.stored is not None:
        status = status.model_copy(update={"stored": seen.result.stored})
    if row.outcome is Outcome.DONE and seen is not None and seen.result is not None and seen.result.metrics is not None:
        status, rests_on = record(status, row, seen.result.metrics)
        status = status.model_copy(update={"stages": (*stages[:-1], row.model_copy(update={"message": _joined(row, rests_on)}))})
    return status


def _joined(row: StageStatus, rests_on: str) -> str:
    """What a committed stage says: whether it was taken over, and what the decision on it rests on."""
    return clip("; ".join(filter(None, (row.message, rests_on))))
