"""Events for people: the difference between two statuses, so that no Event is published twice."""

from collections.abc import Iterator

from ser_core.api.status import Outcome, Phase, SERRunStatus, StageStatus
from ser_core.loop.deciding.faults import NOTHING_TO_REPORT
from ser_core.loop.deciding.stages import StageKey, key_of
from ser_core.loop.observed import Event

_WARNINGS = (Outcome.FAILED, Outcome.LOST)
_BAD_PHASES = (Phase.FAILED, Phase.BUDGET_EXCEEDED, Phase.WAITING)
_STOPPED = (Phase.SUSPENDED, Phase.BUDGET_EXCEEDED)


def events(before: SERRunStatus, after: SERRunStatus, reason: str) -> tuple[Event, ...]:
    """Events of one plan, the stages first.

    Args:
        before: The status that was read.
        after: The new status, nothing trimmed from it.
        reason: Why the run is in its new phase.
    """
    return (*_stage_events(before, after), *_phase_events(before, after, reason))


def _stage_events(before: SERRunStatus, after: SERRunStatus) -> Iterator[Event]:
    known: dict[tuple[StageKey, int], StageStatus] = {(key_of(row), row.attempt): row for row in before.stages}
    for row in after.stages:
        old = known.get((key_of(row), row.attempt))
        if old is not None and (old.outcome, old.reason) == (row.outcome, row.reason):
            continue
        yield _stage_event(row)


def _stage_event(row: StageStatus) -> Event:
    name = f"{key_of(row)}, attempt {row.attempt}"
    if row.outcome is Outcome.RUNNING and not row.reason:
        looks = " (looks for its manifest)" if row.mode == "report" else ""
        return Event("Normal", "StageStarted", f"{name}{looks}")
    if row.outcome is Outcome.RUNNING:
        return Event("Normal", "StageStopping", f"{name}: {row.reason}")
    told = f"{name}: {row.message}" if row.message else name
    warns = row.outcome in _WARNINGS and row.reason != NOTHING_TO_REPORT  # it had only looked
    return Event("Warning" if warns else "Normal", row.reason or "StageDone", told)


def _phase_events(before: SERRunStatus, after: SERRunStatus, reason: str) -> Iterator[Event]:
    if before.phase is after.phase:
        return
    if before.phase in (Phase.COMPLETED, Phase.FAILED):
        yield Event("Normal", "Reopened", after.message)
    elif after.phase is Phase.RUNNING and before.phase in _STOPPED:
        yield Event("Normal", "Resumed", after.message)
    elif after.phase is Phase.RUNNING and before.phase is Phase.PENDING:
        yield Event("Normal", "Started", after.message)
    elif after.phase is not Phase.RUNNING and not (after.waiting_since and before.waiting_since):  # a wait is told once
        stalled = any(one.type == "Stalled" and one.status == "True" for one in after.conditions)
        yield Event("Warning" if stalled or after.phase in _BAD_PHASES else "Normal", reason, after.message)
