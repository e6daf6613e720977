"""When a run that has ended goes on, and its status then. Everything that is committed is kept.

| a run that is | goes on when |
|---|---|
| Failed | `reopen` is above the value that was honoured last |
| Failed: DeadlineExceeded | `activeDeadline` leaves time again |
| Failed: memory or the number of processes | the stage would get more than its last attempt had (`attempt_resources`) |
| Failed: InvalidSpec | this operator can read the spec |
| Completed, without a policy | `loop.maxIterations` is raised, and the loops had ended for it alone |

All of it is read from spec and status, so a plan that was carried out and not recorded is made again.
"""

from datetime import datetime

from ser_core.api.serrun import SERRun
from ser_core.api.status import Outcome, Phase, SERRunStatus, StageStatus
from ser_core.loop.deciding.attempt_resources import attempt_resources, has_what_was_lacking, may_have_lacked
from ser_core.loop.deciding.attempts import attempts_of, forgiven
from ser_core.loop.deciding.limits import DEADLINE_EXCEEDED, why_to_stop, with_admitted_time
from ser_core.loop.deciding.stages import committed, inputs_of, key_of, next_stage
from ser_core.loop.deciding.stopping import ending
from ser_core.loop.text import clip, read_time

INVALID_SPEC = "InvalidSpec"
"""Reason of a run whose spec the operator cannot read."""
_NO_LOOP_MORE = "a larger maxIterations adds no loop"


def is_reopened(run: SERRun) -> bool:
    """Whether a failed run was told to go on (`ser retry`), and no plan has been made since."""
    return run.status.phase is Phase.FAILED and run.spec.reopen > run.status.reopened


def is_out_of_time(run: SERRun) -> bool:
    """Whether a run has failed by its deadline, and its spec leaves no time still: told to go on, it would only fail again."""
    return run.status.phase is Phase.FAILED and _reason(run.status) == DEADLINE_EXCEEDED and not _has_time_again(run)


def failure_of(run: SERRun) -> StageStatus | None:
    """The attempt that a run has failed for; None: it has failed for something else."""
    last = _failed_attempt(run)
    return last if last is not None and last.reason == _reason(run.status) else None


def reopened(run: SERRun, now: datetime) -> SERRunStatus | None:
    """The status of an ended run that goes on; None: it stays as it is, as one does that only another version can have ended."""
    status = run.status
    if not status.phase.is_known:
        return None
    if not (_completed_goes_on(run) if status.phase is Phase.COMPLETED else _failed_goes_on(run)):
        return None
    ended = read_time(status.finished_at) if status.started_at and status.finished_at else now
    return _with_its_inputs(run).model_copy(
        update={
            "phase": Phase.RUNNING if status.started_at else Phase.PENDING,
            "stages": tuple(map(forgiven, status.stages)),
            "finished_at": None,
            "suspended_seconds": status.suspended_seconds + max(0, int((now - ended).total_seconds())),
        }
    )


def reopened_as_lost(run: SERRun) -> SERRunStatus | None:
    """The same for a status that the planner cannot have written. It is believed that the run has failed, and no more of it.

    A failed Job that is still there is then taken in anew, and its failure with it, so that it may take a second rise.
    """
    return SERRunStatus(template=run.status.template) if is_reopened(run) else None


def at_rest(run: SERRun) -> SERRunStatus:
    """The status of an ended run that stays as it is: its spec was read, and what its last attempt had is known."""
    status = run.status
    return status.model_copy(
        update={
            "message": _message(run),
            "reopened": max(status.reopened, run.spec.reopen),
            "stages": tuple(_with_record(run, row) for row in status.stages),
        }
    )


def _failed_goes_on(run: SERRun) -> bool:
    status = run.status
    reason = _reason(status)
    if run.spec.reopen > status.reopened or reason == INVALID_SPEC:
        return True
    if reason == DEADLINE_EXCEEDED:
        return _has_time_again(run)
    last = failure_of(run)
    return last is not None and has_what_was_lacking(last, attempt_resources(run, key_of(last), ()))


def _reason(status: SERRunStatus) -> str:
    return next((one.reason for one in status.conditions if one.type == "Failed"), "")


def _has_time_again(run: SERRun) -> bool:
    end = run.status.finished_at
    return end is not None and why_to_stop(run, with_admitted_time(run.status, read_time(end))) != DEADLINE_EXCEEDED


def _completed_goes_on(run: SERRun) -> bool:
    """A change of the spec must be what makes it go on: another version of the planner alone does not."""
    status = run.status
    changed = run.metadata.generation > status.observed_generation
    return changed and run.spec.policy is None and bool(status.iterations) and ending(run.spec.loop, status.iterations) is None


def _failed_attempt(run: SERRun) -> StageStatus | None:
    """The last attempt that failed of the stage that failed."""
    key = next_stage(run.spec, run.status)
    rows = attempts_of(run.status, key) if key is not None else ()
    return next((row for row in reversed(rows) if row.outcome is Outcome.FAILED and not row.forgiven), None)


def _with_record(run: SERRun, row: StageStatus) -> StageStatus:
    """``row`` of an earlier version with what it had: what the spec names now."""
    if row.resources is not None or row.mode == "report" or not may_have_lacked(row) or row != _failed_attempt(run):
        return row
    earlier = [one for one in attempts_of(run.status, key_of(row)) if one is not row]
    return row.model_copy(update={"resources": attempt_resources(run, key_of(row), earlier)})


def _with_its_inputs(run: SERRun) -> SERRunStatus:
    """The status, as lost when it has forgotten what the next stage reads: then each committed stage reports itself again."""
    status = run.status
    key = next_stage(run.spec, status)
    if key is None or committed(status).keys() >= set(inputs_of(key, run.spec, status).values()):
        return status
    forgotten = ("stages", "iterations", "best_iteration", "reward_model", "learning_status")
    return SERRunStatus.model_validate(status.model_dump(exclude=set(forgotten)))


def _message(run: SERRun) -> str:
    """The run's message, with what a raised maxIterations changes: nothing where the loops had ended for another reason."""
    status = run.status
    changed = run.metadata.generation > status.observed_generation
    if status.phase is not Phase.COMPLETED or not changed or not status.iterations or status.policy is not None:
        return status.message
    ended = ending(run.spec.loop, status.iterations)
    told = f"{_NO_LOOP_MORE}, since {ended.message}" if ended and run.spec.loop.max_iterations > status.iterations[-1].iteration else ""
    return clip("; ".join(filter(None, (status.message.partition(f"; {_NO_LOOP_MORE}")[0], told))))
