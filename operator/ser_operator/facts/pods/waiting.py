"""Why the live attempt does not run yet, in the words of the scheduler, the kubelet, the quota or the queue. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from ser_core.loop.observed import Waiting
from ser_operator.facts.pods.pod_ends import has_failed
from ser_operator.facts.pods.queueing import SILENT
from ser_operator.facts.reading import (
    Object,
    at,
    by_index,
    conditions,
    created_at,
    deleting_since,
    leading,
    moment,
    name,
    started_at,
    state_of,
    terminated,
    waiting_state,
)

NODE_UNREACHABLE = "NodeUnreachable"
STUCK_AFTER = timedelta(minutes=5)
"""How long a pod may outlive its grace period before its node counts as unreachable."""
_ORDINARY = frozenset({"ContainerCreating", "PodInitializing", ""})
"""Waiting states that say nothing; the Events say more."""
_PULL_FAILED = "ErrImagePull"
"""The kubelet shows this and, while it backs off, ImagePullBackOff with this inside, by turns: the status must not change with it."""

_UNSCHEDULED = "FailedScheduling"
_GOES_ON = frozenset({"Pulling", "Pulled", "Created"})
"""Events of a pod that has its volumes and its sandbox: what it had trouble with before is settled."""
_RETRIED = frozenset({"Failed", "BackOff"})
"""Warnings of a container that is pulled and made again and again: those Events come between them, and settle nothing."""

_COMBINED = "(combined from similar events): "


def stuck(pods: Sequence[Object], now: datetime) -> Waiting | None:
    """A pod that should be gone long ago. It is never deleted by force: it may still be running and writing.

    One that has ended writes no more, and may be gone already: of such the cache keeps how they ended.
    """
    for pod in pods:
        since = None if terminated(pod) or has_failed(pod) else deleting_since(pod)
        if since is not None and now > since + STUCK_AFTER:
            node = str(at(pod, "spec").get("nodeName", "unknown"))
            remedy = "bring it back, or once it is surely off: kubectl delete pod --force"
            return Waiting(NODE_UNREACHABLE, f"pod {name(pod)} does not end because node {node} does not answer: {remedy}", stalled=True)
    return None


def lagging(pods: Sequence[Object]) -> Object:
    """The pod that an attempt waits for: the first that has not begun to run, else pod 0; empty when there is none, or it has failed: while
    its Job goes on, as after a queue has taken that back, another one is to come."""
    current = by_index(pods)
    found = next((pod for pod in current if not started_at(pod) and not terminated(pod)), leading(current))
    return {} if has_failed(found) else found


def waits_since(job: Object, pods: Sequence[Object]) -> datetime | None:
    """Since when the attempt waits for its process; None once the process runs or has ended, or where nothing is waited for."""
    pod = lagging(pods)
    if at(job, "spec").get("suspend"):
        return created_at(job)
    if not pod:
        return None if state_of(job) != "running" else _last_end(pods) or created_at(job)
    if waiting_state(pod) or (not terminated(pod) and at(pod, "status").get("phase") == "Pending"):
        return created_at(pod)
    return None


def waiting(job: Object, pods: Sequence[Object], events: Sequence[Object]) -> Waiting | None:
    """What a waiting attempt waits for.

    Args:
        job: Its Job.
        pods: The Job's pods.
        events: Events of the lagging pod, or of the Job when there is no pod.
    """
    if at(job, "spec").get("suspend"):
        return SILENT
    pod = lagging(pods)
    return _by_pod(pod) or _by_events(job, _unsettled(pod, events) if pod else _since_the_last_end(pods, events))


def starting(pod: Object, events: Sequence[Object]) -> Waiting | None:
    """What the kubelet does for a container that is not there yet, in its own words: it pulls the image, or mounts volumes.

    Args:
        pod: The lagging one.
        events: Its own.
    """
    reason = str(waiting_state(pod).get("reason", ""))
    if not reason or reason not in _ORDINARY:
        return None
    calm = (one for one in events if one.get("type") != "Warning")  # those that `waiting` has left out are settled
    said = max(calm, key=_time_of, default={}).get("message") or "its container is made"
    return Waiting(reason, str(said), starting=True)


def _last_end(pods: Sequence[Object]) -> datetime | None:
    return max((end for pod in pods if (end := moment(terminated(pod).get("finishedAt"))) is not None), default=None)


def _since_the_last_end(pods: Sequence[Object], events: Sequence[Object]) -> Sequence[Object]:
    """Those of a Job that are not of the pods before, whose troubles are over."""
    end = _last_end(pods)
    return [one for one in events if end is None or (said := moment(_time_of(one))) is None or said >= end]


def _unsettled(pod: Object, events: Sequence[Object]) -> Sequence[Object]:
    """Those of a pod without the troubles that are over: it has found its node, or the kubelet has gone on."""
    scheduled = any(one.get("type") == "PodScheduled" and one.get("status") == "True" for one in conditions(pod))
    gone_on = max((_time_of(one) for one in events if str(one.get("reason")) in _GOES_ON), default="")
    return [
        one
        for one in events
        if not (scheduled and one.get("reason") == _UNSCHEDULED)
        and (str(one.get("reason")) in _RETRIED or not gone_on or _time_of(one) > gone_on)
    ]


def _time_of(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _by_pod(pod: Object) -> Waiting | None:
    for one in conditions(pod):
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return Waiting(str(one.get("reason", "Unschedulable")), str(one.get("message", "")))
    state = waiting_state(pod)
    reason = str(state.get("reason", ""))
    message = str(state.get("message", reason))
    if reason == "ImagePullBackOff" and (cause := message.partition(f"{_PULL_FAILED}: ")[2]):
        return Waiting(_PULL_FAILED, cause)
    return None if reason in _ORDINARY else Waiting(reason, message)


def _by_events(job: Object, events: Sequence[Object]) -> Waiting | None:
    warnings = [event for event in events if event.get("type") == "Warning"]
    if not warnings:
        return None
    last = max(warnings, key=_time_of)
    # A pod that could not be made gets another random name each time, and after some such Events they are combined: the status must not
    # change with it.
    message = re.sub(rf"{re.escape(name(job))}(-\d+)?-[a-z0-9]{{5}}\b", name(job), str(last.get("message", "")).removeprefix(_COMBINED))
    return Waiting(str(last.get("reason", "Waiting")), message)
