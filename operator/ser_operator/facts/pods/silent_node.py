"""Whether the node of a pod that runs has fallen silent. Pure."""

from collections.abc import Sequence

from ser_core.loop.observed import Waiting
from ser_operator.facts.reading import Object, at, by_index, conditions, name, started_at, terminated

NODE_NOT_READY = "NodeNotReady"


def silent_node(pods: Sequence[Object]) -> Waiting | None:
    """The first pod of an attempt whose node has missed its heartbeats.

    The node controller then sets the pod's condition Ready to False. It leaves ContainersReady, which only the kubelet writes, as it was.
    So the operator needs no right to read nodes.
    """
    for pod in by_index(pods):
        if started_at(pod) and not terminated(pod) and _was_made_unready(pod):
            node = at(pod, "spec").get("nodeName", "unknown")
            told = f"node {node} has not answered since {_since(pod)}; pod {name(pod)} may still be at work there"
            return Waiting(NODE_NOT_READY, told, stalled=True)
    return None


def _was_made_unready(pod: Object) -> bool:
    states = {one.get("type"): one.get("status") for one in conditions(pod)}
    return states.get("Ready") == "False" and states.get("ContainersReady") == "True"


def _since(pod: Object) -> str:
    return next((str(one.get("lastTransitionTime", "")) for one in conditions(pod) if one.get("type") == "Ready"), "")
