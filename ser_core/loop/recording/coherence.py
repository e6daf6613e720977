"""Whether a status can be one that the planner wrote. Others may have written it since, and the planner relies on what it wrote.

A status that says that the run has ended is believed unseen (`read_run`). What a later version has written need not fit: fields, outcomes
and stages that are not known here count for nothing. Any other status that cannot be is treated as lost, which costs a look at
each stage and no work: a committed stage reports itself again.
"""

from collections.abc import Iterator

from ser_core.api.serrun import SERRun
from ser_core.api.spec.loop import Control
from ser_core.api.status import LearningStatus, Outcome, Phase, SERRunStatus, StageStatus, Time
from ser_core.api.values.amounts import MEMORY
from ser_core.loop.deciding.stages import POLICY_STAGES, PPO, PREPARE, committed, inputs_of, job_name, key_of, live_attempt, next_stage
from ser_core.loop.deciding.stopping import best
from ser_core.loop.text import read_time


def coherent(run: SERRun, status: SERRunStatus) -> bool:
    """Whether the planner could have written ``status`` for ``run``. It never raises, whatever status the CRD allows."""
    return (
        all(_is_time(text) for text in _times(status))
        and _phase_fits(status)
        and _stages_fit(run, status)
        and _iterations_fit(status)
        and _policy_fits(run, status)
        and _controls_fit(status)
        and _next_can_start(run, status)
    )


def _times(status: SERRunStatus) -> Iterator[Time]:
    yield from (text for text in (status.started_at, status.finished_at, status.suspended_at, status.waiting_since) if text is not None)
    for row in status.stages:
        yield row.started_at
        if row.outcome.is_known and row.outcome is not Outcome.RUNNING:
            yield row.finished_at or ""
    if status.progress is not None:
        yield status.progress.updated_at
    if status.counted is not None:
        yield status.counted.to


def _is_time(text: Time) -> bool:
    try:
        read_time(text)
    except ValueError:
        return False
    return True


def _phase_fits(status: SERRunStatus) -> bool:
    ended = status.phase in (Phase.COMPLETED, Phase.FAILED)
    begun = status.started_at is not None
    return (
        ended == (status.finished_at is not None)
        and (begun or not (status.stages or status.iterations))
        and not (status.phase is Phase.COMPLETED and (not status.iterations or live_attempt(status) is not None))
        and min(status.gpu_hours, status.admitted_seconds or 0.0, status.suspended_seconds, status.threads) >= 0
        and (status.counted is None or min(status.counted.admitted_seconds, status.counted.gpu_hours) >= 0)
    )


def _stages_fit(run: SERRun, status: SERRunStatus) -> bool:
    identities = {(key_of(row), row.attempt) for row in status.stages}
    live = [row for row in status.stages if row.outcome is Outcome.RUNNING]
    return len(identities) == len(status.stages) and len(live) <= 1 and all(_row_fits(run, row) for row in status.stages)


def _row_fits(run: SERRun, row: StageStatus) -> bool:
    done = row.outcome is Outcome.DONE
    manifest = (row.manifest is not None, row.manifest_sha256 is not None)
    named = row.job == job_name(run, key_of(row), row.attempt)
    return named and manifest == (done, done) and min(row.gpus, row.gpu_hours) >= 0 and _amounts_fit(row)


def _amounts_fit(row: StageStatus) -> bool:
    memory = row.resources.memory if row.resources is not None else None
    return memory is None or MEMORY.has(memory)


def _iterations_fit(status: SERRunStatus) -> bool:
    iterations = status.iterations
    if not iterations:
        return status.best_iteration is None
    *before, last = iterations
    found = best(iterations)
    return (
        [row.iteration for row in iterations] == list(range(len(iterations)))
        and all(row.dev_accuracy is not None and row.learning_status is not LearningStatus.STOP for row in before)
        and found is not None
        and found.iteration == status.best_iteration
        and (last.dev_accuracy is None or last.learning_status is not LearningStatus.STOP)
        and PREPARE in committed(status)
    )


def _policy_fits(run: SERRun, status: SERRunStatus) -> bool:
    begun = any(row.stage in POLICY_STAGES for row in status.stages)
    wanted = run.spec.policy is not None and bool(status.iterations)
    return (status.policy is not None) == (PPO in committed(status)) and (wanted or not begun)


def _controls_fit(status: SERRunStatus) -> bool:
    names = [control.control for control in status.controls]
    known = {control.value for control in Control}
    return len(set(names)) == len(names) and known.issuperset(names) and not (names and not status.iterations)


def _next_can_start(run: SERRun, status: SERRunStatus) -> bool:
    """Whether the stage to compute is not committed, is the one that lives if any does, and finds its inputs."""
    if status.phase in (Phase.COMPLETED, Phase.FAILED):
        return True  # nothing is computed any more, and maxIterations may have been raised since
    key = next_stage(run.spec, status)
    live, done = live_attempt(status), committed(status)
    if key is None:
        return live is None
    inputs = inputs_of(key, run.spec, status).values()
    return key not in done and (live is None or key_of(live) == key) and all(source in done for source in inputs)
