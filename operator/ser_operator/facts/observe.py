"""From Jobs and pods, as the API server shows them, to what the planner understands. Pure, total and distrustful.

Anybody may edit labels, annotations and status of a Job. So an attempt is believed to be one when its Job is controlled by the run's
UID and bears the very name that the planner gives to that attempt; whatever else stands in it cannot confuse one run with another.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError

from ser_core.api.serrun import SERRun
from ser_core.api.stage import StageResult
from ser_core.api.status import StageKind
from ser_core.loop.deciding.stages import StageKey, job_name
from ser_core.loop.observed import ObservedAttempt
from ser_operator.objects import labels

Object = Mapping[str, Any]

_ECHOES = (1, 143)
"""Exit codes that a process may end with because another one is lost: an unexpected error, and SIGTERM."""


def attempts(run: SERRun, jobs: Iterable[Object], pods: Sequence[Object], now: datetime) -> tuple[ObservedAttempt, ...]:
    """The attempts of ``run`` among ``jobs``; all others are left alone."""
    found = (_attempt(run, job, [pod for pod in pods if owner_uid(pod) == uid(job)], now) for job in jobs)
    return tuple(attempt for attempt in found if attempt is not None)


def _attempt(run: SERRun, job: Object, pods: Sequence[Object], now: datetime) -> ObservedAttempt | None:
    identity = identity_of(run, job)
    if identity is None:
        return None
    key, number, mode = identity
    state = state_of(job)
    ended = terminated(deciding(pods))
    if state == "running" and deleting_since(job) is not None and pods and all(map(terminated, by_index(pods))):
        state = "failed"  # no other pod follows, and the Job goes without a condition: now or never is its report read
    started = min((begin for one in pods if (begin := started_at(one)) is not None), default=None)
    return ObservedAttempt(
        iteration=key.iteration,
        stage=key.stage,
        attempt=number,
        job=name(job),
        state=state,
        mode=mode,
        exit_code=_exit_code(job, ended) if state != "running" else None,
        result=_result(ended, pods) if state != "running" else None,
        disruption=next(filter(None, map(_disruption, by_index(pods))), ""),
        out_of_memory=ended.get("reason") == "OOMKilled",
        started_at=started or now,  # what has not begun to run holds no GPU
        finished_at=_time(ended.get("finishedAt")) or finished_at(job),
    )


def identity_of(run: SERRun, job: Object) -> tuple[StageKey, int, Literal["execute", "report"]] | None:
    """Which attempt of ``run`` a Job is; None when it is none, whatever it says of itself.

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


def state_of(job: Object) -> Literal["running", "succeeded", "failed"]:
    """Only the final conditions count: SuccessCriteriaMet and FailureTarget come while pods still run."""
    true = {condition.get("type") for condition in conditions(job) if condition.get("status") == "True"}
    return "succeeded" if "Complete" in true else "failed" if "Failed" in true else "running"


def finished_at(job: Object) -> datetime | None:
    """When a Job got its final condition."""
    moments = [_time(one.get("lastTransitionTime")) for one in conditions(job) if one.get("type") in ("Complete", "Failed")]
    return next((moment for moment in moments if moment is not None), None)


def parse_result(message: Any) -> StageResult | None:
    """The report of a stage from a termination message; None when it is none, for example the log of a crash."""
    if not isinstance(message, str):
        return None
    try:
        return StageResult.model_validate_json(message)
    except ValidationError:
        return None


def _result(ended: Object, pods: Iterable[Object]) -> StageResult | None:
    """The report of the deciding pod, with the newest checkpoint that any pod tells of: the first process alone saves them, and may still
    do so when others report."""
    result = parse_result(ended.get("message"))
    if result is None:
        return None
    reports = [report for pod in by_index(pods) if (report := parse_result(terminated(pod).get("message"))) is not None]
    steps = [report.checkpoint_step for report in reports if report.checkpoint_step is not None]
    return result.model_copy(update={"checkpoint_step": max(steps, default=None)})


def by_index(pods: Iterable[Object]) -> list[Object]:
    """The newest pod of each part of a Job (one, or one a node), which a replacement within an attempt is; pod 0 first."""
    found: dict[int, Object] = {}
    for pod in sorted(pods, key=lambda pod: (str(at(pod, "metadata").get("creationTimestamp", "")), name(pod))):
        found[completion_index(pod)] = pod
    return [found[index] for index in sorted(found)]


def completion_index(pod: Object) -> int:
    """Which part of its Job a pod is; 0 where there is one."""
    text = str(at(pod, "metadata", "annotations").get("batch.kubernetes.io/job-completion-index", ""))
    return int(text) if text.isdecimal() and len(text) < 6 else 0


def leading(pods: Iterable[Object]) -> Object:
    """The pod that shows the attempt's progress: pod 0; empty when there is none."""
    return next(iter(by_index(pods)), {})


def deciding(pods: Iterable[Object]) -> Object:
    """The pod whose end is that of the attempt; empty when there is none.

    Where pods have failed it is the one whose failure explains the others' (`_ECHOES`), the first among equals; else it is the one that
    reports a result, else pod 0.
    """
    current = by_index(pods)
    failed = [pod for pod in current if terminated(pod).get("exitCode")]
    if failed:
        return min(failed, key=lambda pod: (terminated(pod).get("exitCode") in _ECHOES, str(terminated(pod).get("finishedAt", ""))))
    return next((pod for pod in current if parse_result(terminated(pod).get("message")) is not None), leading(current))


def terminated(pod: Object) -> Object:
    """The terminated state of a pod's container; empty while it has not ended."""
    return _container_state(pod, "terminated")


def have_succeeded(job: Object, pods: Iterable[Object]) -> bool:
    """Whether a Job is complete and ``pods`` are all of its parts, each ended well: what can be known of it then is known for good."""
    ends = [terminated(pod) for pod in by_index(pods)]
    wanted = at(job, "spec").get("completions", 1)
    return state_of(job) == "succeeded" and len(ends) == wanted and all(end.get("exitCode") == 0 for end in ends)


def waiting_state(pod: Object) -> Object:
    """The waiting state of a pod's container; empty once it runs."""
    return _container_state(pod, "waiting")


def started_at(pod: Object) -> datetime | None:
    """When the container of a pod began to run."""
    state = _container_state(pod, "running") or terminated(pod)
    return _time(state.get("startedAt"))


def conditions(thing: Object) -> list[Object]:
    """``status.conditions``, the well-formed ones."""
    found = at(thing, "status").get("conditions")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def owner_uid(thing: Object) -> str:
    """UID of the controller; empty without one."""
    references = at(thing, "metadata").get("ownerReferences")
    found = [one for one in references if isinstance(one, Mapping) and one.get("controller")] if isinstance(references, list) else []
    return str(found[0].get("uid", "")) if found else ""


def uid(thing: Object) -> str:
    """``metadata.uid``."""
    return str(at(thing, "metadata").get("uid", ""))


def name(thing: Object) -> str:
    """``metadata.name``."""
    return str(at(thing, "metadata").get("name", ""))


def deleting_since(thing: Object) -> datetime | None:
    """``metadata.deletionTimestamp``: for a pod the end of its grace period."""
    return _time(at(thing, "metadata").get("deletionTimestamp"))


def created_at(thing: Object) -> datetime | None:
    """``metadata.creationTimestamp``."""
    return _time(at(thing, "metadata").get("creationTimestamp"))


def _exit_code(job: Object, ended: Object) -> int | None:
    code = ended.get("exitCode")
    if isinstance(code, int):
        return code
    return None if state_of(job) == "succeeded" or not _deadline_exceeded(job) else 143


def _deadline_exceeded(job: Object) -> bool:
    return any(one.get("type") == "Failed" and one.get("reason") == "DeadlineExceeded" for one in conditions(job))


def _disruption(pod: Object) -> str:
    """Why the cluster takes a pod away, for example ``PreemptionByScheduler: …``; empty: it does not."""
    for one in conditions(pod):
        if one.get("type") == "DisruptionTarget" and one.get("status") == "True":
            return ": ".join(filter(None, (one.get("reason", "DisruptionTarget"), one.get("message"))))
    return ""


def _container_state(pod: Object, state: str) -> Object:
    statuses = at(pod, "status").get("containerStatuses")
    first = statuses[0] if isinstance(statuses, list) and statuses else {}
    return at(first, "state", state)


def at(thing: Any, *path: str) -> Object:
    """The mapping at ``path``; empty where there is none."""
    for part in path:
        thing = thing.get(part) if isinstance(thing, Mapping) else None
    return thing if isinstance(thing, Mapping) else {}


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
    except ValueError:
        return None
