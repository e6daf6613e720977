"""From Jobs and pods, as the API server shows them, to what the planner understands. Pure, total and distrustful.

Anybody may edit labels, annotations and status of a Job. So an attempt is believed to be one when its Job is controlled by the run's
UID and has the name that the planner gives to that attempt. So no other content of a Job can confuse two runs.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from ser_core.api.serrun import SERRun
from ser_core.api.stage import StageResult
from ser_core.api.status import StageKind
from ser_core.loop.deciding.stages import StageKey, job_name
from ser_core.loop.observed import ObservedAttempt
from ser_operator.facts.pods.legs import begun_at, ended_at
from ser_operator.facts.pods.pod_ends import disruption, has_failed, over_disk_limit, told_by_kubelet
from ser_operator.facts.reading import (
    Object,
    at,
    by_index,
    by_owner,
    conditions,
    deleting_since,
    finished_at,
    held_by,
    leading,
    name,
    owner_uid,
    state_of,
    terminated,
    uid,
)
from ser_operator.objects import labels

_ECHOES = (1, 143)
"""Exit codes that a process may end with because another one is lost: an unexpected error, and SIGTERM."""


def attempts(run: SERRun, jobs: Iterable[Object], pods: Sequence[Object], now: datetime) -> tuple[ObservedAttempt, ...]:
    """The attempts of ``run`` among ``jobs``; all others are left alone."""
    of_jobs = by_owner(pods)
    found = (_attempt(run, job, of_jobs.get(uid(job), []), now) for job in jobs)
    return tuple(attempt for attempt in found if attempt is not None)


def _attempt(run: SERRun, job: Object, pods: Sequence[Object], now: datetime) -> ObservedAttempt | None:
    identity = identity_of(run, job)
    if identity is None:
        return None
    key, number, mode = identity
    state = state_of(job)
    last = decisive_pod(pods)
    ended, (pod_reason, pod_message) = terminated(last), told_by_kubelet(last)
    if is_held(job, pods):
        state = "failed" if ended.get("exitCode") else "succeeded"
    if state == "running" and deleting_since(job) is not None and pods and all(map(terminated, by_index(pods))):
        state = "failed"  # no other pod follows, and the Job goes without a condition: now or never is its report read
    started = min((begin for one in pods if (begin := begun_at(one, now)) is not None), default=None)
    return ObservedAttempt(
        iteration=key.iteration,
        stage=key.stage,
        attempt=number,
        job=name(job),
        state=state,
        mode=mode,
        exit_code=_exit_code(job, ended) if state != "running" else None,
        result=_result(ended, pods) if state != "running" else None,
        disruption=next(filter(None, map(disruption, by_index(pods))), ""),
        out_of_memory=ended.get("reason") == "OOMKilled",
        over_disk_limit=over_disk_limit(last),
        pod_reason=pod_reason,
        pod_message=pod_message,
        node=str(at(last, "spec").get("nodeName") or ""),
        started_at=started or now,  # what has not begun to run holds no GPU
        finished_at=finished_at(job) or _ended(last, now),
    )


def is_held(job: Object, pods: Iterable[Object]) -> bool:
    """Whether the stage has ended in all pods of a Job that goes on all the same, since another container of a pod still runs."""
    current = by_index(pods)
    wanted = at(job, "spec").get("completions", 1)
    ended = state_of(job) == "running" and len(current) == wanted and all(map(terminated, current))
    return ended and any(map(held_by, current))


def identity_of(run: SERRun, job: Object) -> tuple[StageKey, int, Literal["execute", "report"]] | None:
    """Which attempt of ``run`` a Job is; None when it is none, whatever its labels say.

    Read from the pod template, which cannot be changed once the Job exists.
    """
    if owner_uid(job) != run.metadata.uid:
        return None
    said = at(job, "spec", "template", "metadata", "labels")
    try:
        key = StageKey(int(str(said.get(labels.ITERATION))), StageKind(str(said.get(labels.STAGE))))
        number = int(str(said.get(labels.ATTEMPT)))
    except ValueError:
        return None
    if name(job) != job_name(run, key, number):
        return None
    return key, number, "report" if said.get(labels.MODE) == "report" else "execute"


def parse_result(message: Any) -> StageResult | None:
    """The report of a stage from a termination message; None when it is none, for example the log of a crash."""
    if not isinstance(message, str):
        return None
    try:
        return StageResult.model_validate_json(message)
    except ValidationError:
        return None


def _result(ended: Object, pods: Iterable[Object]) -> StageResult | None:
    """The report of the decisive pod, with the newest checkpoint that any pod reports: only rank 0 saves checkpoints, and may still
    do so when others report."""
    result = parse_result(ended.get("message"))
    if result is None:
        return None
    reports = [report for pod in by_index(pods) if (report := parse_result(terminated(pod).get("message"))) is not None]
    steps = [report.checkpoint_step for report in reports if report.checkpoint_step is not None]
    return result.model_copy(update={"checkpoint_step": max(steps, default=None)})


def decisive_pod(pods: Iterable[Object]) -> Object:
    """The pod whose end is that of the attempt; empty when there is none.

    Where pods have failed it is the one whose failure explains the others' (`_ECHOES`), one that never ran before all, the first among
    equals; else it is the one that reports a result, else pod 0.
    """
    current = by_index(pods)
    failed = list(filter(has_failed, current))
    if failed:
        return min(failed, key=lambda pod: (terminated(pod).get("exitCode") in _ECHOES, str(terminated(pod).get("finishedAt", ""))))
    return next((pod for pod in current if parse_result(terminated(pod).get("message")) is not None), leading(current))


def have_succeeded(job: Object, pods: Iterable[Object]) -> bool:
    """Whether a Job is complete and ``pods`` are all of its parts, each ended well: nothing about it can change any more."""
    ends = [terminated(pod) for pod in by_index(pods)]
    wanted = at(job, "spec").get("completions", 1)
    return state_of(job) == "succeeded" and len(ends) == wanted and all(end.get("exitCode") == 0 for end in ends)


def is_told(pods: Iterable[Object]) -> bool:
    """Whether there are pods, and each part of their Job has said how it ended."""
    current = by_index(pods)
    return bool(current) and all(terminated(pod) or has_failed(pod) for pod in current)


def _ended(pod: Object, now: datetime) -> datetime | None:
    begin = begun_at(pod, now)
    end = ended_at(pod, begin) if begin is not None else None
    return min(end, now) if end is not None else None


def _exit_code(job: Object, ended: Object) -> int | None:
    code = ended.get("exitCode")
    if isinstance(code, int) and (code or state_of(job) != "failed"):  # if not, another pod has failed, of which nothing is seen
        return code
    return None if state_of(job) == "succeeded" or not _deadline_exceeded(job) else 143


def _deadline_exceeded(job: Object) -> bool:
    return any(one.get("type") == "Failed" and one.get("reason") == "DeadlineExceeded" for one in conditions(job))
