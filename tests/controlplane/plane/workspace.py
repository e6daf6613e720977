"""One namespace of the cluster, as a test of Jobs and pods uses it."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from controlplane.plane.api_client import Object
from controlplane.plane.control_plane import ControlPlane

T = TypeVar("T")


@dataclass(frozen=True)
class Workspace:
    """Makes Jobs, and waits for what becomes of them."""

    plane: ControlPlane
    name: str

    def job(
        self,
        name: str,
        command: list[str],
        *,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        job: Object | None = None,
        pod: Object | None = None,
        container: Object | None = None,
        image: str = "any",
    ) -> Object:
        """Create a Job of one pod. ``job``, ``pod`` and ``container`` are more fields of their specs."""
        variables = [{"name": key, "value": value} for key, value in (env or {}).items()]
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [{"name": "main", "image": image, "command": command, "env": variables, **(container or {})}],
            **(pod or {}),
        }
        template = {"metadata": {"labels": dict(labels or {})}, "spec": spec}
        body = {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template, **(job or {})}}
        return self.plane.api().create(self.path("jobs"), body)

    def python(self, name: str, code: str, **more: Any) -> Object:
        """Create a Job that runs Python code; see `job`."""
        return self.job(name, ["python", "-c", code], **more)

    def path(self, kind: str, name: str = "") -> str:
        """Path of Jobs or of a kind of the core API in this namespace."""
        group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        return f"{group}/namespaces/{self.name}/{kind}{'/' if name else ''}{name}"

    def pods(self, job: str) -> list[Object]:
        """Pods of a Job."""
        return self.plane.api().items(self.path("pods"), labelSelector=f"batch.kubernetes.io/job-name={job}")

    def wait(self, found: Callable[[], T | None], seconds: float = 120) -> T:
        """Wait until ``found()`` is true, and return it."""
        deadline = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < deadline, json.dumps(self.plane.api().items(self.path("pods")), indent=1)[-6000:]
            time.sleep(0.1)
        return value

    def pod_in(self, job: str, phase: str) -> Object:
        """Wait for a pod of a Job in this phase."""
        return self.wait(lambda: next((pod for pod in self.pods(job) if pod["status"]["phase"] == phase), None))

    def last_seen(self, pod: Object, seconds: int = 120) -> Object:
        """Wait until a pod is gone; returns it as it was last."""
        since = {"resourceVersion": pod["metadata"]["resourceVersion"], "timeoutSeconds": str(seconds)}
        for event in self.plane.api().watch(self.path("pods"), since).events():
            last: Object = event["object"]
            if event["type"] == "DELETED" and last["metadata"]["uid"] == pod["metadata"]["uid"]:
                return last
        raise AssertionError(f"{pod['metadata']['name']} is still there after {seconds} s")

    def condition(self, job: str, kind: str) -> Object:
        """Wait for a condition of a Job to be true."""

        def found() -> Object | None:
            conditions = self.plane.api().get(self.path("jobs", job))["status"].get("conditions", ())
            return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)

        return self.wait(found)

    def event(self, name: str, reason: str) -> Object:
        """Wait for an Event about an object with this name."""

        def found() -> Object | None:
            events = self.plane.api().items(self.path("events"), fieldSelector=f"reason={reason},involvedObject.name={name}")
            return next(iter(events), None)

        return self.wait(found)
