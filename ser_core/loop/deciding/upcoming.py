"""The attempt that comes next, and what must have ended before it."""

from datetime import datetime

from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.spec.resources import StageResources
from ser_core.api.status import SERRunStatus, StageStatus
from ser_core.loop.deciding.attempt_resources import attempt_resources
from ser_core.loop.deciding.attempts import attempts_of, failure, next_attempt
from ser_core.loop.deciding.stages import job_name, live_attempt, next_stage, resources
from ser_core.loop.observed import Observed, ObservedAttempt
from ser_core.loop.text import write_time


def upcoming_attempt(run: SERRun, status: SERRunStatus, now: datetime) -> StageStatus | None:
    """The attempt that would be started now if nothing prevents it; None while one lives, or when there is none."""
    key = next_stage(run.spec, status)
    if key is None or live_attempt(status) is not None:
        return None
    rows = attempts_of(status, key)
    if failure(rows, run.spec.retries) is not None:
        return None
    following = next_attempt(rows, run.spec.retries)
    wanted = resources(run, key.stage)
    mode = "report" if not rows and looks_first(run.spec, wanted) else following.mode
    return StageStatus(
        iteration=key.iteration,
        stage=key.stage,
        attempt=following.number,
        mode=mode,
        job=job_name(run, key, following.number),
        gpus=wanted.gpus * wanted.nodes if mode == "execute" else 0,
        resources=attempt_resources(run, key, rows) if mode == "execute" else None,
        started_at=write_time(now),
    )


def looks_first(spec: SERRunSpec, wanted: StageResources) -> bool:
    """Whether a stage's first attempt only looks whether another run has committed the same (`spec.from`).

    Without GPUs and in one pod the computing process looks itself: a process that only looks would cost as much as it.
    """
    return spec.from_ is not None and (wanted.gpus > 0 or wanted.nodes > 1)


def unknown_live(status: SERRunStatus, observed: Observed) -> tuple[ObservedAttempt, ...]:
    """Running attempts that are not live in the status. While there are any, nothing is started."""
    live = live_attempt(status)
    return tuple(seen for seen in observed.attempts if seen.state == "running" and (live is None or seen.job != live.job))
