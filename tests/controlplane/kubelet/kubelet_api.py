"""What the kubelet says to the API server. Every call goes on until it is answered, however often the server dies meanwhile."""

import http.client
import threading
from collections.abc import Callable
from typing import TypeVar

import urllib3

from controlplane.kubelet.pod_status import now
from controlplane.plane.api_client import MERGE, STRATEGIC, ApiClient, ApiError, Object

T = TypeVar("T")

UNREACHABLE = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
_GONE = (http.client.NOT_FOUND, http.client.CONFLICT)
_LATER = (http.client.UNAUTHORIZED, http.client.TOO_MANY_REQUESTS)  # it starts up; it is busy


class Stopped(Exception):
    """The kubelet was stopped: the thread ends."""


class KubeletApi:
    """One kubelet's way to the API server, which a test can cut."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.connected = threading.Event()
        self.connected.set()
        self.stopped = threading.Event()

    def stop(self) -> None:
        """Every call, now and later, raises `Stopped`."""
        self.stopped.set()
        self.connected.set()

    def write_status(self, pod: Object, status: Object) -> None:
        """Change the status of this very pod. Strategic merge: the conditions of others stay."""
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        self._unless_gone(pod, lambda: self.client.patch(f"{pod_path(pod)}/status", body, STRATEGIC))

    def delete(self, pod: Object) -> None:
        """Take this very pod out of the API, now that nothing of it runs."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        self._unless_gone(pod, lambda: self.client.delete(pod_path(pod), options))

    def find(self, namespace: str, plural: str, name: str) -> Object | None:
        """A Secret or ConfigMap; None when there is none."""
        return self._call(lambda: self.client.find(f"/api/v1/namespaces/{namespace}/{plural}/{name}"))

    def token(self, pod: Object, seconds: int, audience: str | None) -> str:
        """A token of a pod's ServiceAccount that is good as long as the pod is there, and no longer than it says."""
        metadata, account = pod["metadata"], pod["spec"]["serviceAccountName"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"expirationSeconds": seconds, "boundObjectRef": bound, **({"audiences": [audience]} if audience else {})}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        return str(self._call(lambda: self.client.create(path, body))["status"]["token"])

    def record(self, pod: Object, kind: str, reason: str, message: str) -> None:
        """Write an Event about a pod, or count one more of those that say the same."""
        metadata = pod["metadata"]
        collection = f"/api/v1/namespaces/{metadata['namespace']}/events"
        name = f"{metadata['name']}.{hash((metadata['uid'], reason, message)) & (1 << 60) - 1:x}"
        known = self._call(lambda: self.client.find(f"{collection}/{name}"))
        if known is not None:
            again = {"count": known["count"] + 1, "lastTimestamp": now()}
            self._unless_gone(pod, lambda: self.client.patch(f"{collection}/{name}", again, MERGE))
            return
        event = {
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": pod["spec"]["nodeName"]},
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        }
        self._unless_gone(pod, lambda: self.client.create(collection, event))

    def _unless_gone(self, pod: Object, call: Callable[[], object]) -> None:
        while True:
            try:
                self._call(call)
                return
            except ApiError as error:
                if error.code == http.client.FORBIDDEN and "being terminated" in error.message:
                    return  # no Events in a namespace that goes
                if error.code not in _GONE:
                    raise
                live = self._call(lambda: self.client.find(pod_path(pod)))
                if live is None or live["metadata"]["uid"] != pod["metadata"]["uid"]:
                    return

    def _call(self, call: Callable[[], T]) -> T:
        pause = 0.05
        while True:
            self.connected.wait()
            if self.stopped.is_set():
                raise Stopped
            try:
                return call()
            except UNREACHABLE:
                pass
            except ApiError as error:
                if error.code not in _LATER and error.code < http.client.INTERNAL_SERVER_ERROR:
                    raise
            self.stopped.wait(pause)
            pause = min(0.5, 2 * pause)


def pod_path(pod: Object) -> str:
    """Path of a pod in the API."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
