"""Pods that are no part of any run, to see whom they reach and who reaches them."""

import json
import time
from typing import Any

from controlplane.plane.api_client import Object
from node import images
from node.machine.cluster import Cluster

PORT = 8000
_PATIENCE = 300
"""Seconds."""
_SERVE = f"import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port={PORT}, bind='0.0.0.0')"


class Stranger:
    """A pod that serves a page on `PORT` until it is asked for something.

    Args:
        cluster: Where it runs.
        namespace: Made if there is none.
        name: Of the pod.
        labels: Of the pod.
    """

    def __init__(self, cluster: Cluster, namespace: str, name: str, labels: dict[str, str] | None = None) -> None:
        self._kubectl = cluster.plane.kubectl
        self._namespace, self._name = namespace, name
        if cluster.plane.api().find(f"/api/v1/namespaces/{namespace}") is None:
            self._kubectl("create", "namespace", namespace)
        container = {"name": "main", "image": images.STAGES, "command": ["python", "-c", _SERVE], "workingDir": "/tmp"}
        container["resources"] = {"requests": {"cpu": "100m"}}  # one that asks for nothing stands still beside the stages
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        restricted = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
        spec = {
            "containers": [container],
            "securityContext": restricted,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}
        self._kubectl("apply", "--namespace", namespace, "-f", "-", input=json.dumps(pod))

    def pod(self) -> Object:
        """The pod, once it runs and serves."""
        self._kubectl(
            "wait",
            "--namespace",
            self._namespace,
            "--for=condition=Ready",
            f"--timeout={_PATIENCE}s",
            f"pod/{self._name}",
            timeout=_PATIENCE + 20,
        )
        deadline = time.monotonic() + _PATIENCE
        while "Serving" not in self._kubectl("logs", "--namespace", self._namespace, self._name).stdout:
            assert time.monotonic() < deadline, "the stranger does not serve"
            time.sleep(0.2)
        return json.loads(self._kubectl("get", "pod", "--namespace", self._namespace, self._name, "-o", "json").stdout)

    def look(self, program: str) -> Any:
        """What a program of `node.looks` finds in it."""
        command = ("exec", "--namespace", self._namespace, self._name, "--", "python", "-c", program)
        return json.loads(self._kubectl(*command, timeout=_PATIENCE).stdout)
