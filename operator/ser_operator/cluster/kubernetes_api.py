"""The Kubernetes API as the operator uses it: a small port, and its adapter.

Objects are plain dicts: parsing them into the client's models would cost more than everything else that the operator does.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubernetes.aio.client.configuration import Configuration

from ser_core.api.serrun import API_VERSION
from ser_operator.cluster.transport import CONFLICT, NOT_FOUND, ApiError, TellRequest, Transport
from ser_operator.facts.cache import resource_version
from ser_operator.facts.kept import Kind, kept
from ser_operator.facts.reading import Object, state_of
from ser_operator.objects import labels

FIELD_MANAGER = "ser-operator"
_RUNS = f"/apis/{API_VERSION}"
_JOBS = "/apis/batch/v1"
_CORE = "/api/v1"
_WHERE: Mapping[Kind, tuple[str, str]] = {"SERRun": (_RUNS, "serruns"), "Job": (_JOBS, "jobs"), "Pod": (_CORE, "pods")}
_PAGE_OBJECTS = "250"
"""Of a LIST in pages: some 3 MB, which are read in 30 ms."""
_EVENTS = 100
"""Of one object that are kept. They are remembered while its pod waits."""
_KUEUE = ("/apis/kueue.x-k8s.io/v1beta2", "/apis/kueue.x-k8s.io/v1beta1")
"""Newest first: Kueue serves the second until 0.17, the first since 0.15."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a LIST, in the version that all its parts have."""

    version: int
    objects: Sequence[Object]


class KubernetesApi(Protocol):
    """What the operator asks of a cluster, nothing more. Every method raises `ApiError`."""

    def pages(self, kind: Kind, namespace: str | None, selector: str = "") -> AsyncIterator[Page]:
        """All objects of a kind in a namespace, or in the cluster, by label. 410 when they were read too slowly."""
        ...

    async def get_run(self, namespace: str, name: str) -> Object | None:
        """One SERRun, live; None when it is gone."""
        ...

    async def get_template(self, namespace: str, name: str) -> Object | None:
        """One SERRunTemplate, live; None when there is none."""
        ...

    async def apply_status(self, run: Object, status: Object) -> Object:
        """Write ``status`` onto the version of ``run`` that was read; 409 when the run has changed since."""
        ...

    async def get_job(self, namespace: str, name: str) -> Object | None:
        """One Job, live; None when it is gone."""
        ...

    async def create_job(self, job: Object) -> Object:
        """Create a Job; 409 when its name is taken."""
        ...

    async def delete_job(self, job: Object) -> None:
        """Delete this very Job (by UID). One that runs stays visible until its pods are gone. Gone already is fine."""
        ...

    async def get_service(self, namespace: str, name: str) -> Object | None:
        """One Service, live; None when it is gone."""
        ...

    async def create_service(self, service: Object) -> Object:
        """Create a Service; 409 when its name is taken."""
        ...

    async def list_pods(self, namespace: str, selector: str) -> list[Object]:
        """Pods by label."""
        ...

    async def list_events(self, namespace: str, uid: str) -> list[Object]:
        """Events of one object."""
        ...

    async def create_event(self, event: Object) -> None:
        """Publish an Event; one that exists is fine."""
        ...

    async def list_workloads(self, namespace: str, job_uid: str) -> list[Object]:
        """Kueue's Workloads of one Job; 404 where Kueue is not installed."""
        ...


class Cluster:
    """The adapter. Use as an async context manager.

    Args:
        configuration: Server, credentials and certificates.
        request_seconds: Longest wait for one answer.
    """

    def __init__(self, configuration: Configuration, request_seconds: float) -> None:
        self._transport = Transport(configuration, request_seconds)

    async def __aenter__(self) -> "Cluster":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    def tell_requests(self, tell: TellRequest) -> None:
        """Tell every request from now on."""
        self._transport.tell = tell

    async def pages(self, kind: Kind, namespace: str | None, selector: str = "") -> AsyncIterator[Page]:
        """A LIST, a page a request: ten thousand runs at once would be 100 MB of text, and four times that as objects."""
        query = [("limit", _PAGE_OBJECTS), *([("labelSelector", selector)] if selector else [])]
        async for answer in self._answers(_collection(*_WHERE[kind], namespace), query):
            yield Page(resource_version(answer), [kept(kind, item) for item in _items(answer)])

    async def get_run(self, namespace: str, name: str) -> Object | None:
        """One SERRun, live."""
        return await self._get(f"{_RUNS}/namespaces/{namespace}/serruns/{name}")

    async def get_template(self, namespace: str, name: str) -> Object | None:
        """One SERRunTemplate, live."""
        return await self._get(f"{_RUNS}/namespaces/{namespace}/serruntemplates/{name}")

    async def apply_status(self, run: Object, status: Object) -> Object:
        """Server-side apply, forced, with UID and resourceVersion as preconditions; then without what others have put there.

        An apply leaves fields alone that it does not name and that somebody else owns, so that they would come back with every reconcile.
        """
        metadata = {key: run["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        body = {"apiVersion": run["apiVersion"], "kind": run["kind"], "metadata": metadata, "status": status}
        path = f"{_RUNS}/namespaces/{metadata['namespace']}/serruns/{metadata['name']}/status"
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        answer = await self._transport.send("PATCH", path, query, body, "application/apply-patch+yaml; charset=utf-8")
        foreign = answer.get("status", {}).keys() - status.keys()
        if not foreign:
            return answer
        cleared = {"metadata": {"resourceVersion": answer["metadata"]["resourceVersion"]}, "status": dict.fromkeys(foreign)}
        return await self._transport.send("PATCH", path, [("fieldManager", FIELD_MANAGER)], cleared, "application/merge-patch+json")

    async def get_job(self, namespace: str, name: str) -> Object | None:
        """One Job, live."""
        job = await self._get(f"{_JOBS}/namespaces/{namespace}/jobs/{name}")
        return kept("Job", job) if job is not None else None

    async def create_job(self, job: Object) -> Object:
        """Create a Job."""
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        return await self._transport.send("POST", f"{_JOBS}/namespaces/{job['metadata']['namespace']}/jobs", query, job)

    async def delete_job(self, job: Object) -> None:
        """Delete by UID, in the foreground while it runs."""
        metadata = job["metadata"]
        policy = "Foreground" if state_of(job) == "running" else "Background"
        body = {"propagationPolicy": policy, "preconditions": {"uid": metadata["uid"]}}
        await self._unless(NOT_FOUND, "DELETE", f"{_JOBS}/namespaces/{metadata['namespace']}/jobs/{metadata['name']}", body)

    async def get_service(self, namespace: str, name: str) -> Object | None:
        """One Service, live."""
        return await self._get(f"{_CORE}/namespaces/{namespace}/services/{name}")

    async def create_service(self, service: Object) -> Object:
        """Create a Service."""
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        return await self._transport.send("POST", f"{_CORE}/namespaces/{service['metadata']['namespace']}/services", query, service)

    async def list_pods(self, namespace: str, selector: str) -> list[Object]:
        """Pods by label."""
        return [kept("Pod", pod) for pod in await self._list(_CORE, namespace, "pods", [("labelSelector", selector)])]

    async def list_events(self, namespace: str, uid: str) -> list[Object]:
        """The newest Events of one object. They come in the order of their names, oldest first."""
        query, newest = [("fieldSelector", f"involvedObject.uid={uid}"), ("limit", str(_EVENTS))], list[Object]()
        async for answer in self._answers(_collection(_CORE, "events", namespace), query):
            newest = [*newest, *_items(answer)][-_EVENTS:]
        return newest

    async def create_event(self, event: Object) -> None:
        """Publish an Event."""
        await self._unless(CONFLICT, "POST", f"{_CORE}/namespaces/{event['metadata']['namespace']}/events", event)

    async def list_workloads(self, namespace: str, job_uid: str) -> list[Object]:
        """Kueue's Workloads of one Job."""
        query = [("labelSelector", f"{labels.JOB_UID}={job_uid}")]
        newest, older = _KUEUE
        try:
            return await self._list(newest, namespace, "workloads", query)
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
            return await self._list(older, namespace, "workloads", query)

    async def _answers(self, path: str, query: list[tuple[str, str]]) -> AsyncIterator[Object]:
        """The pages of a LIST."""
        rest = ""
        while True:
            answer = await self._transport.send("GET", path, [*query, *([("continue", rest)] if rest else [])])
            yield answer
            rest = answer["metadata"].get("continue", "")
            if not rest:
                return

    async def _list(self, api: str, namespace: str, plural: str, query: list[tuple[str, str]]) -> list[Object]:
        return _items(await self._transport.send("GET", _collection(api, plural, namespace), query))

    async def _get(self, path: str) -> Object | None:
        return await self._unless(NOT_FOUND, "GET", path, None)

    async def _unless(self, code: int, method: str, path: str, body: Object | None) -> Object | None:
        try:
            return await self._transport.send(method, path, body=body)
        except ApiError as error:
            if error.code == code:
                return None
            raise


def _collection(api: str, plural: str, namespace: str | None) -> str:
    return f"{api}/namespaces/{namespace}/{plural}" if namespace else f"{api}/{plural}"


def _items(answer: Object) -> list[Object]:
    """Of a list, with the kind and the version that they do not say themselves."""
    kind = str(answer["kind"]).removesuffix("List")
    return [{"apiVersion": answer["apiVersion"], "kind": kind, **item} for item in answer["items"]]


def run_selector(uid: str) -> str:
    """Selector of the children of one run."""
    return f"{labels.RUN_UID}={uid}"
