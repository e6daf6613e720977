"""What the kubelet says of a pod that has ended: it never ran, its node took it down, or it took more disk than it may. Pure."""

import re

from ser_operator.facts.reading import Object, at, conditions, terminated

_OVER_ITS_OWN_LIMIT = re.compile(
    "Usage of EmptyDir volume .* exceeds the limit"
    "|exceeded its local ephemeral storage limit"
    "|ephemeral local storage usage exceeds the total limit of containers"
)
"""The three messages of an eviction that the pod itself has caused (kubelet, pkg/kubelet/eviction/helpers.go)."""
_NOT_FOUND_AGAIN = "ContainerStatusUnknown"
"""The kubelet's word, as a container's reason, for one that was gone when it looked, after a restart of the node for example."""


def has_failed(pod: Object) -> bool:
    """Whether a pod has ended badly, with an exit code or, if it never ran, without one."""
    return bool(terminated(pod).get("exitCode")) or at(pod, "status").get("phase") == "Failed"


def told_by_kubelet(pod: Object) -> tuple[str, str]:
    """Reason and message of a pod's end, for example ``UnexpectedAdmissionError``; empty where the kubelet has nothing to say."""
    status, ended = at(pod, "status"), terminated(pod)
    if reason := str(status.get("reason") or ""):
        return reason, str(status.get("message") or "")
    return (_NOT_FOUND_AGAIN, str(ended.get("message") or "")) if ended.get("reason") == _NOT_FOUND_AGAIN else ("", "")


def over_disk_limit(pod: Object) -> bool:
    """Whether the kubelet ended a pod because it took more disk than a limit of its own allows; what a full node ends is a disruption."""
    reason, message = told_by_kubelet(pod)
    return reason == "Evicted" and not disruption(pod) and _OVER_ITS_OWN_LIMIT.search(message) is not None


def disruption(pod: Object) -> str:
    """Why the cluster takes a pod away, for example ``PreemptionByScheduler: …``; empty: it does not."""
    for one in conditions(pod):
        if one.get("type") == "DisruptionTarget" and one.get("status") == "True":
            return ": ".join(filter(None, (one.get("reason", "DisruptionTarget"), one.get("message"))))
    return ""
