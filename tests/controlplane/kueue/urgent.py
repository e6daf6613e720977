"""Somebody else's Job that is worth more than the others of a queue."""

import time
from collections.abc import Mapping
from typing import Self

from controlplane.kubelet.kubelet import ProcessKubelet
from controlplane.kueue.queues import PRIORITIES, PRIORITY_LABEL, QUEUE_LABEL, priority
from controlplane.plane.api_client import ApiClient

NAME = "urgent"
GONE_SECONDS = 60


class Urgent:
    """From entering the context to leaving it this Job takes quota from all others of a queue; then it is gone.

    Args:
        api: The cluster.
        kubelet: Of the nodes to which the queue leads; its pod runs there and does nothing.
        namespace: Of the queue. It has no other Job called ``urgent``.
        queue: LocalQueue.
        limits: What it takes.
    """

    def __init__(self, api: ApiClient, kubelet: ProcessKubelet, namespace: str, queue: str, limits: Mapping[str, str]) -> None:
        self._api = api
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._priority = f"{NAME}-{namespace}"
        pod_labels = {"urgent-in": namespace}
        self._gate = kubelet.hold(pod_labels)
        container = {"name": "main", "image": "any", "command": ["any"], "resources": {"limits": dict(limits)}}
        pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
        self._job = {
            "metadata": {"name": NAME, "labels": {QUEUE_LABEL: queue, PRIORITY_LABEL: self._priority}},
            "spec": {"suspend": True, "template": {"metadata": {"labels": pod_labels}, "spec": pod}},
        }

    def __enter__(self) -> Self:
        self._api.create(PRIORITIES, priority(self._priority, 1000))
        self._api.create(self._jobs, self._job)
        return self

    def __exit__(self, *_: object) -> None:
        self._api.delete(f"{self._jobs}/{NAME}", {"propagationPolicy": "Foreground"})
        self._api.delete(f"{PRIORITIES}/{self._priority}")
        deadline = time.monotonic() + GONE_SECONDS
        while self._api.find(f"{self._jobs}/{NAME}") is not None:
            assert time.monotonic() < deadline, f"the urgent Job is not gone after {GONE_SECONDS} s"
            time.sleep(0.2)
        self._gate.release()
