"""Attempts of a stage: whether there is another one, when, and in which mode.

Every decision is read from the stage's recorded attempts, so nothing has to be remembered beside them. Forgiven ones decide nothing.
What an end means stands in `ends`, whose fault it is in `faults`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ser_core.api.serrun import RetriesSpec
from ser_core.api.status import Outcome, SERRunStatus, StageStatus
from ser_core.api.values.amounts import duration_seconds
from ser_core.errors import RendezvousTimeout, StageHung
from ser_core.loop.deciding.ends import found_nothing
from ser_core.loop.deciding.faults import Fault, fault_of, starts_again_at_once
from ser_core.loop.deciding.stages import StageKey, key_of, resource_kind
from ser_core.loop.deciding.token_budget import more_memory, ran_out_of_memory
from ser_core.loop.text import read_time

FIRST_PAUSE = timedelta(seconds=10)
"""Pause after the first fault of the world; it doubles with each further one."""
LONGEST_PAUSE = timedelta(minutes=10)
RECOVERED_AFTER = timedelta(minutes=15)
"""An attempt that has lasted so long has had what it needs: a fault of the world after it is a new one."""
_NO_CRASH = (StageHung.exit_code, RendezvousTimeout.exit_code)
_REMEMBERED = 8
"""Faults of the world in a row after which the pause grows no further, and one more."""


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The attempt that a stage has next."""

    number: int
    mode: Literal["execute", "report"]
    not_before: datetime | None
    """End of the pause after a failure; None: at once."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stage, and with it the run, has failed."""

    reason: str
    message: str


def attempts_of(status: SERRunStatus, key: StageKey) -> tuple[StageStatus, ...]:
    """The recorded attempts of a stage, oldest first."""
    return tuple(row for row in status.stages if key_of(row) == key)


def next_attempt(rows: Sequence[StageStatus], retries: RetriesSpec) -> NextAttempt:
    """What follows the ended attempts ``rows`` of a stage that is neither committed nor failed."""
    if not rows:
        return NextAttempt(1, "execute", None)
    last = rows[-1]
    unanswered = last.outcome is Outcome.LOST or (last.mode == "report" and not found_nothing(last))
    return NextAttempt(last.attempt + 1, "report" if unanswered else "execute", _not_before(tries(rows), retries))


def failure(rows: Sequence[StageStatus], retries: RetriesSpec) -> Failure | None:
    """Why the stage with the ended attempts ``rows`` is not tried again; None: it is."""
    counting = tries(rows)
    charges = charged(rows)
    if not counting or not charges:
        return None
    last = counting[-1]
    told = last.message or f"it ended with exit code {last.exit_code}"
    if last in charges:
        fault = fault_of(last)
        if fault is Fault.INPUTS:
            return Failure(last.reason, told)
        if fault is Fault.UNKNOWN and any(_same_crash_elsewhere(row, last) for row in charges[:-1]):
            return Failure(last.reason, f"failed twice in the same way: {told}")
        if fault is Fault.MEMORY and sum(fault_of(row) is Fault.MEMORY for row in charges) > 1:
            return Failure(last.reason, _twice_too_little(last, told))
    if len(charges) >= retries.limit:
        return Failure(charges[-1].reason, f"{len(charges)} charged attempts, the last one: {charges[-1].message or told}")
    return None


def tries(rows: Sequence[StageStatus]) -> tuple[StageStatus, ...]:
    """The attempts among ``rows`` that decide: those that are not forgiven, without reports that found nothing."""
    return tuple(row for row in rows if not row.forgiven and not found_nothing(row))


def charged(rows: Sequence[StageStatus]) -> tuple[StageStatus, ...]:
    """The attempts among ``rows`` that count against ``retries.limit``.

    An earlier version charged faults of the world too; these count no longer.
    """
    return tuple(row for row in tries(rows) if row.charged and fault_of(row) not in (Fault.WORLD, Fault.LIMITS))


def faults_of_the_world(rows: Sequence[StageStatus]) -> tuple[StageStatus, ...]:
    """The last attempts among ``rows``, oldest first, that the world has ended one after another. What the user stopped is left out."""
    found: list[StageStatus] = []
    for row in reversed(tries(rows)):
        fault = fault_of(row)
        if fault is Fault.WORLD:
            found.insert(0, row)
        if fault not in (Fault.WORLD, Fault.LIMITS) or (fault is Fault.WORLD and _lasted(row) >= RECOVERED_AFTER):
            break
    return tuple(found)


def without_pauses(status: SERRunStatus) -> SERRunStatus:
    """``status`` of a run that a person has started again: whether the world is back is tried at once."""
    rows = tuple(forgiven(row) if fault_of(row) is Fault.WORLD else row for row in status.stages)
    return status.model_copy(update={"stages": rows})


def forgiven(row: StageStatus) -> StageStatus:
    """``row`` as one that decides nothing any more, if it has ended without what it was for."""
    return row if row.outcome in (Outcome.DONE, Outcome.RUNNING) else row.model_copy(update={"forgiven": True})


def still_decides(row: StageStatus, rows: Sequence[StageStatus]) -> bool:
    """Whether forgetting ``row`` could change a decision about its stage, whose attempts are ``rows``."""
    return row in charged(rows) or row in faults_of_the_world(rows)[-_REMEMBERED:] or row is rows[-1]


def _not_before(counting: Sequence[StageStatus], retries: RetriesSpec) -> datetime | None:
    last = counting[-1] if counting else None
    if last is None or not last.finished_at:
        return None
    return None if (pause := _pause(last, counting, retries)) is None else read_time(last.finished_at) + pause


def _pause(last: StageStatus, counting: Sequence[StageStatus], retries: RetriesSpec) -> timedelta | None:
    """The pause after ``last``, the last of ``counting``; None: none."""
    if fault_of(last) is Fault.WORLD:
        times = len(faults_of_the_world(counting)) - starts_again_at_once(last)
        return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(times - 1, _REMEMBERED))) if times else None
    if not last.charged:
        return None
    first = timedelta(seconds=duration_seconds(retries.pause))
    return min(longest_pause(retries), first * (1 << (len(charged(counting)) - 1)))


def longest_pause(retries: RetriesSpec) -> timedelta:
    """No pause is longer."""
    return max(LONGEST_PAUSE, timedelta(seconds=duration_seconds(retries.pause)))


def _lasted(row: StageStatus) -> timedelta:
    return read_time(row.finished_at) - read_time(row.started_at) if row.finished_at and row.started_at else timedelta(0)


def _same_crash_elsewhere(one: StageStatus, other: StageStatus) -> bool:
    """Whether two attempts crashed alike at the same checkpoint, so that the node is not the reason. Two unknown nodes count as two."""
    alike = [(row.outcome, row.reason, row.exit_code, row.checkpoint_step) for row in (one, other)]
    elsewhere = one.node != other.node or not one.node
    return alike[0] == alike[1] and other.outcome is Outcome.FAILED and other.exit_code not in _NO_CRASH and elsewhere


def _twice_too_little(last: StageStatus, told: str) -> str:
    if ran_out_of_memory(last):
        return f"ran out of memory twice: {told}; {more_memory(resource_kind(last.stage), last)}"
    return f"took more than its limit twice: {told}; raise the limit that the message names"
