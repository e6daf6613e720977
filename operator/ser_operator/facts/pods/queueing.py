"""Why Kueue does not let a Job run, read from the Workload that it keeps of the Job. Pure.

Kueue 0.17 writes there: ``spec.active``, ``spec.queueName``, ``status.admissionChecks`` and the conditions ``QuotaReserved`` and
``Evicted`` (apis/kueue/v1beta2/workload_types.go).
"""

from collections.abc import Mapping, Sequence

from ser_core.loop.observed import Waiting
from ser_operator.facts.reading import Object, at, conditions, name
from ser_operator.objects.labels import QUEUE

QUEUED = "Queued"
QUEUE_UNUSABLE = "QueueUnusable"
JOB_SUSPENDED = "JobSuspended"
PODS_NOT_READY = "PodsReadyTimeout"
DEACTIVATED = "WorkloadDeactivated"
NOT_ADMITTED = "its queue has not admitted it"
SILENT = Waiting(QUEUED, NOT_ADMITTED)
NOT_SEEN = Waiting(QUEUED, f"{NOT_ADMITTED}: Kueue keeps no Workload of it; see that Kueue is at work and manages this namespace")
NO_QUEUE = Waiting("NoQueue", "Kueue manages Jobs without a queue here too, and there was no LocalQueue called default", stalled=True)
NOT_INSTALLED = Waiting(
    QUEUE_UNUSABLE, "it asks for a queue, and Kueue is not installed: the cluster knows no workloads.kueue.x-k8s.io", stalled=True
)


def held_without_queue(job: Object) -> Waiting:
    """What a suspended Job waits for in a cluster without Kueue."""
    if QUEUE in at(job, "metadata", "labels"):
        return NOT_INSTALLED
    told = f"Job {name(job)} is suspended, and no queue has done it: set its spec.suspend to false, and the run goes on"
    return Waiting(JOB_SUSPENDED, told, stalled=True)


def queued(workloads: Sequence[Object]) -> Waiting:
    """What a suspended Job waits for.

    Args:
        workloads: Kueue's Workloads of the Job; the newest counts. Empty: Kueue has not seen the Job yet, or never will.
    """
    newest = max(workloads, key=lambda one: str(at(one, "metadata").get("creationTimestamp", "")), default=None)
    if newest is None:
        return NOT_SEEN
    return _deactivated(newest) or _without_quota(newest) or _unchecked(newest) or SILENT


def _deactivated(workload: Object) -> Waiting | None:
    if at(workload, "spec").get("active") is not False:
        return None
    told = _message(_condition(workload, "Evicted"))
    return Waiting(DEACTIVATED, f"Kueue does not try workload {name(workload)} any more{f': {told}' if told else ''}", stalled=True)


def _without_quota(workload: Object) -> Waiting | None:
    quota, evicted = _condition(workload, "QuotaReserved"), _condition(workload, "Evicted")
    taken_back = evicted.get("status") == "True"
    if quota.get("status") != "False" and not taken_back:
        return None
    said = quota if quota.get("status") == "False" else evicted  # which keeps its quota until its pods are gone
    told = _message(said)
    if said.get("reason") == "Inadmissible" and not at(workload, "spec").get("queueName"):
        return NO_QUEUE
    if said.get("reason") == "Inadmissible":
        return Waiting(QUEUE_UNUSABLE, told, stalled=True)
    if taken_back and evicted.get("reason") == PODS_NOT_READY and _message(evicted) == told:
        return Waiting(PODS_NOT_READY, told)  # from its eviction to the next try
    words = (_message(evicted), told) if taken_back else (told,)  # by the next try Kueue says only what is missing
    return Waiting(QUEUED, f"{NOT_ADMITTED}: {'; '.join(dict.fromkeys(words))}")


def _unchecked(workload: Object) -> Waiting | None:
    checks = at(workload, "status").get("admissionChecks")
    for check in checks if isinstance(checks, list) else ():
        if isinstance(check, Mapping) and check.get("state") != "Ready":
            told = ": ".join(filter(None, (str(check.get("name", "")), _message(check))))
            return Waiting(QUEUED, f"{NOT_ADMITTED}: admission check {told}")
    return None


def _condition(workload: Object, kind: str) -> Object:
    return next((one for one in conditions(workload) if one.get("type") == kind), {})


def _message(thing: Object) -> str:
    return str(thing.get("message") or "")
