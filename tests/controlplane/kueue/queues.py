"""Kueue's objects as an administrator makes them."""

from collections.abc import Mapping

from controlplane.plane.api_client import ApiClient, Object
from controlplane.plane.nodes import GPU

API = "/apis/kueue.x-k8s.io/v1beta2"
FLAVORS = f"{API}/resourceflavors"
CLUSTER_QUEUES = f"{API}/clusterqueues"
PRIORITIES = f"{API}/workloadpriorityclasses"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"


def flavor(name: str, node_labels: Mapping[str, str]) -> Object:
    """Nodes with certain labels, to which Kueue sends what it admits."""
    return _object("ResourceFlavor", name, {"nodeLabels": dict(node_labels)})


def cluster_queue(name: str, flavor: str, quota: Mapping[str, str]) -> Object:
    """Quota of one flavor; what is worth more takes it from what is worth less."""
    resources = [{"name": resource, "nominalQuota": amount} for resource, amount in quota.items()]
    group = {"coveredResources": list(quota), "flavors": [{"name": flavor, "resources": resources}]}
    return _object(
        "ClusterQueue",
        name,
        {"namespaceSelector": {}, "preemption": {"withinClusterQueue": "LowerPriority"}, "resourceGroups": [group]},
    )


def local_queue(name: str, cluster_queue: str) -> Object:
    """A namespace's way to a ClusterQueue."""
    return _object("LocalQueue", name, {"clusterQueue": cluster_queue})


def local_queues(namespace: str) -> str:
    """Path of a namespace's LocalQueues."""
    return f"{API}/namespaces/{namespace}/localqueues"


def workloads(namespace: str) -> str:
    """Path of a namespace's Workloads."""
    return f"{API}/namespaces/{namespace}/workloads"


def open_queue(api: ApiClient, namespace: str, queue: str, node_labels: Mapping[str, str], quota: Mapping[str, str] | None = None) -> None:
    """A LocalQueue with a ClusterQueue and a flavor of its own, both named like the namespace; by default 64 CPUs, 256 GiB and 8 GPUs."""
    api.create(FLAVORS, flavor(namespace, node_labels))
    amounts = quota or {"cpu": "64", "memory": "256Gi", GPU: "8"}
    api.create(CLUSTER_QUEUES, cluster_queue(namespace, namespace, amounts))
    api.create(local_queues(namespace), local_queue(queue, namespace))


def priority(name: str, value: int) -> Object:
    """A class of priority in queues, which the scheduler does not look at."""
    api = API.removeprefix("/apis/")
    return {"apiVersion": api, "kind": "WorkloadPriorityClass", "metadata": {"name": name}, "value": value, "description": ""}


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": API.removeprefix("/apis/"), "kind": kind, "metadata": {"name": name}, "spec": spec}
