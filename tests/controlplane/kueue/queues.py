"""Kueue's objects as an administrator makes them."""

import time
from collections.abc import Mapping
from typing import Self

from controlplane.api_client import ApiClient, Object
from controlplane.nodes import GPU
from controlplane.scenario import Scenario

API = "/apis/kueue.x-k8s.io/v1beta2"
FLAVORS = f"{API}/resourceflavors"
CLUSTER_QUEUES = f"{API}/clusterqueues"
PRIORITIES = f"{API}/workloadpriorityclasses"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
GONE_SECONDS = 30


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
    amounts = quota if quota is not None else {"cpu": "64", "memory": "256Gi", GPU: "8"}
    api.create(CLUSTER_QUEUES, cluster_queue(namespace, namespace, amounts))
    api.create(local_queues(namespace), local_queue(queue, namespace))


class Urgent:
    """Somebody else's Job that is worth more than all others of a queue; from entering the context to leaving it it takes their quota.

    Args:
        scenario: In whose namespace, which also has no other Job of this name.
        queue: LocalQueue of the namespace.
        limits: What it takes.
    """

    NAME = "urgent"

    def __init__(self, scenario: Scenario, queue: str, limits: Mapping[str, str]) -> None:
        self._api = scenario.api
        self._gate = scenario.kubelet.hold({"job-name": self.NAME, "namespace": scenario.namespace})
        self._priority = f"{self.NAME}-{scenario.namespace}"
        self._jobs = scenario.collection("jobs", "apis/batch/v1")
        labels = {QUEUE_LABEL: queue, PRIORITY_LABEL: self._priority}
        container = {"name": "main", "image": "any", "command": ["any"], "resources": {"limits": dict(limits)}}
        pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
        template = {"metadata": {"labels": {"namespace": scenario.namespace}}, "spec": pod}
        self._job = {"metadata": {"name": self.NAME, "labels": labels}, "spec": {"suspend": True, "template": template}}

    def __enter__(self) -> Self:
        api = API.removeprefix("/apis/")
        priority = {"apiVersion": api, "kind": "WorkloadPriorityClass", "metadata": {"name": self._priority}, "value": 1000}
        self._api.create(PRIORITIES, {**priority, "description": ""})
        self._api.create(self._jobs, self._job)
        return self

    def __exit__(self, *_: object) -> None:
        self._api.delete(f"{self._jobs}/{self.NAME}", {"propagationPolicy": "Foreground"})
        self._api.delete(f"{PRIORITIES}/{self._priority}")
        deadline = time.monotonic() + GONE_SECONDS
        while self._api.find(f"{self._jobs}/{self.NAME}") is not None:
            assert time.monotonic() < deadline, f"the urgent Job is not gone after {GONE_SECONDS} s"
            time.sleep(0.05)
        self._gate.release()


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": API.removeprefix("/apis/"), "kind": kind, "metadata": {"name": name}, "spec": spec}
