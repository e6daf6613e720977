"""What one object of the cluster says: fields of Jobs and pods, read so that nothing in them can raise. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any, Literal

from ser_operator.objects.labels import CONTAINER

Object = Mapping[str, Any]
_OBJECT = (dict, Mapping)
"""What an object is; nearly all are dicts, of which Python knows twenty times sooner that they are mappings."""


def at(thing: Any, *path: str) -> Object:
    """The mapping at ``path``; empty where there is none."""
    for part in path:
        thing = thing.get(part) if isinstance(thing, _OBJECT) else None
    return thing if isinstance(thing, _OBJECT) else {}


def name(thing: Object) -> str:
    """``metadata.name``."""
    return str(at(thing, "metadata").get("name", ""))


def uid(thing: Object) -> str:
    """``metadata.uid``."""
    return str(at(thing, "metadata").get("uid", ""))


def owner_uid(thing: Object) -> str:
    """UID of the controller; empty without one."""
    references = at(thing, "metadata").get("ownerReferences")
    found = [one for one in references if isinstance(one, _OBJECT) and one.get("controller")] if isinstance(references, list) else []
    return str(found[0].get("uid", "")) if found else ""


def by_owner(things: Iterable[Object]) -> Mapping[str, list[Object]]:
    """``things`` by the UID of their controller."""
    found: defaultdict[str, list[Object]] = defaultdict(list)
    for thing in things:
        found[owner_uid(thing)].append(thing)
    return found


def created_at(thing: Object) -> datetime | None:
    """``metadata.creationTimestamp``."""
    return moment(at(thing, "metadata").get("creationTimestamp"))


def deleting_since(thing: Object) -> datetime | None:
    """``metadata.deletionTimestamp``: for a pod the end of its grace period."""
    return moment(at(thing, "metadata").get("deletionTimestamp"))


def conditions(thing: Object) -> list[Object]:
    """``status.conditions``, the well-formed ones."""
    found = at(thing, "status").get("conditions")
    return [one for one in found if isinstance(one, _OBJECT)] if isinstance(found, list) else []


def state_of(job: Object) -> Literal["running", "succeeded", "failed"]:
    """Only the final conditions count: SuccessCriteriaMet and FailureTarget come while pods still run."""
    true = {condition.get("type") for condition in conditions(job) if condition.get("status") == "True"}
    return "succeeded" if "Complete" in true else "failed" if "Failed" in true else "running"


def finished_at(job: Object) -> datetime | None:
    """When a Job got its final condition."""
    moments = [moment(one.get("lastTransitionTime")) for one in conditions(job) if one.get("type") in ("Complete", "Failed")]
    return next((moment for moment in moments if moment is not None), None)


def by_index(pods: Iterable[Object]) -> list[Object]:
    """The newest pod of each part of a Job (one, or one a node), which a replacement within an attempt is; pod 0 first."""
    found: dict[int, Object] = {}
    for pod in sorted(pods, key=lambda pod: (str(at(pod, "metadata").get("creationTimestamp", "")), name(pod))):
        found[completion_index(pod)] = pod
    return [found[index] for index in sorted(found)]


def leading(pods: Iterable[Object]) -> Object:
    """The pod that shows the attempt's progress: pod 0; empty when there is none."""
    return next(iter(by_index(pods)), {})


def completion_index(pod: Object) -> int:
    """Which part of its Job a pod is; 0 where there is one."""
    text = str(at(pod, "metadata", "annotations").get("batch.kubernetes.io/job-completion-index", ""))
    return int(text) if text.isdecimal() and len(text) < 6 else 0


def started_at(pod: Object) -> datetime | None:
    """When the stage of a pod began to run."""
    state = _container_state(pod, "running") or terminated(pod)
    return moment(state.get("startedAt"))


def waiting_state(pod: Object) -> Object:
    """The waiting state of a pod's stage; empty once it runs."""
    return _container_state(pod, "waiting")


def terminated(pod: Object) -> Object:
    """The terminated state of a pod's stage; empty while it has not ended."""
    return _container_state(pod, "terminated")


def held_by(pod: Object) -> str:
    """The container, not ours, that keeps a pod alive whose stage has ended; empty: none does.

    The kubelet ends init containers that restart (sidecars) by itself. An ordinary container beside the stage may run for ever, and with it
    the pod and its Job. A pod that is being deleted is held by nothing.
    """
    if not terminated(pod) or deleting_since(pod) is not None:
        return ""
    others = (one for one in _containers(pod) if not _is_ours(one))
    return next((str(one.get("name", "")) for one in others if at(one, "state") and not at(one, "state", "terminated")), "")


def _container_state(pod: Object, state: str) -> Object:
    return at(next(filter(_is_ours, _containers(pod)), {}), "state", state)


def _containers(pod: Object) -> list[Object]:
    statuses = at(pod, "status").get("containerStatuses")
    return [one for one in statuses if isinstance(one, _OBJECT)] if isinstance(statuses, list) else []


def _is_ours(container: Object) -> bool:
    return bool(container.get("name", CONTAINER) == CONTAINER)


def moment(text: Any) -> datetime | None:
    """A time of the API server; None where it is none, or one at an end of the calendar, of which no duration can be counted."""
    try:
        found = datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and MINYEAR + 100 < found.year < MAXYEAR - 100 else None
