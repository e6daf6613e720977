"""The Kubernetes API as the operator uses it: a small port, and its adapter on the official client.

Objects are plain dicts: parsing them into the client's models would cost more than everything else that the operator does.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import load_incluster_config, load_kube_config

from ser_core.api.serrun import API_VERSION
from ser_operator import labels

Object = Mapping[str, Any]

FIELD_MANAGER = "ser-operator"
NO_ANSWER, NOT_FOUND, CONFLICT = 0, 404, 409
TellRequest = Callable[[str, int, float], None]
"""Told of each request: HTTP method, status (`NO_ANSWER` without one; any success is 200) and seconds."""
_RUNS = f"/apis/{API_VERSION}"
_JOBS = "/apis/batch/v1"
_CORE = "/api/v1"
_ANY = dict.fromkeys((200, 201, 202), "object")


class ApiError(Exception):
    """The API server refused or failed.

    Attributes:
        code: HTTP status; 0 when there was no answer.
        retry_after: Seconds that the server asks to wait; None when it does not.
    """

    def __init__(self, code: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class KubernetesApi(Protocol):
    """What the operator asks of a cluster, nothing more. Every method raises `ApiError`."""

    async def list_runs(self, namespace: str | None) -> list[Object]:
        """All SERRuns of a namespace, or of the cluster."""
        ...

    async def get_run(self, namespace: str, name: str) -> Object | None:
        """One SERRun, live; None when it is gone."""
        ...

    async def apply_status(self, run: Object, status: Object) -> Object:
        """Make ``status`` that of the very version of ``run`` that was read; 409 when it has changed since."""
        ...

    async def list_jobs(self, namespace: str | None, selector: str) -> list[Object]:
        """Jobs by label."""
        ...

    async def get_job(self, namespace: str, name: str) -> Object | None:
        """One Job, live; None when it is gone."""
        ...

    async def create_job(self, job: Object) -> Object:
        """Create a Job; 409 when its name is taken."""
        ...

    async def delete_job(self, job: Object) -> None:
        """Delete this very Job (by UID) in the foreground: it stays visible until its pods are gone. Gone already is fine."""
        ...

    async def get_service(self, namespace: str, name: str) -> Object | None:
        """One Service, live; None when it is gone."""
        ...

    async def create_service(self, service: Object) -> Object:
        """Create a Service; 409 when its name is taken."""
        ...

    async def list_pods(self, namespace: str | None, selector: str) -> list[Object]:
        """Pods by label."""
        ...

    async def list_events(self, namespace: str, uid: str) -> list[Object]:
        """Events of one object."""
        ...

    async def create_event(self, event: Object) -> None:
        """Publish an Event; one that exists is fine."""
        ...


class Cluster:
    """The adapter. Use as an async context manager.

    Args:
        configuration: Server, credentials and certificates.
        request_seconds: Longest wait for one answer.
    """

    def __init__(self, configuration: Configuration, request_seconds: float) -> None:
        self._client = ApiClient(configuration)
        self._timeout = (5.0, request_seconds)
        self._tell: TellRequest = lambda *_: None

    async def __aenter__(self) -> "Cluster":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def tell_requests(self, tell: TellRequest) -> None:
        """Tell every request from now on."""
        self._tell = tell

    async def list_runs(self, namespace: str | None) -> list[Object]:
        """All SERRuns of a namespace, or of the cluster."""
        return await self._list(_RUNS, namespace, "serruns")

    async def get_run(self, namespace: str, name: str) -> Object | None:
        """One SERRun, live."""
        return await self._get(f"{_RUNS}/namespaces/{namespace}/serruns/{name}")

    async def apply_status(self, run: Object, status: Object) -> Object:
        """Server-side apply, forced, with UID and resourceVersion as preconditions; then without what others have put there.

        An apply leaves fields alone that it does not name and that somebody else owns, so that they would come back with every look.
        """
        metadata = {key: run["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        body = {"apiVersion": run["apiVersion"], "kind": run["kind"], "metadata": metadata, "status": status}
        path = f"{_RUNS}/namespaces/{metadata['namespace']}/serruns/{metadata['name']}/status"
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        # Server-side apply reads YAML, which knows no pairs of \ud83d escapes: the client's own JSON would be refused with an emoji in it.
        text = json.dumps(body, ensure_ascii=False).encode()
        answer = await self._call("PATCH", path, text, query, content_type="application/apply-patch+yaml; charset=utf-8")
        foreign = answer.get("status", {}).keys() - status.keys()
        if not foreign:
            return answer
        cleared = {"metadata": {"resourceVersion": answer["metadata"]["resourceVersion"]}, "status": dict.fromkeys(foreign)}
        return await self._call("PATCH", path, cleared, [("fieldManager", FIELD_MANAGER)], content_type="application/merge-patch+json")

    async def list_jobs(self, namespace: str | None, selector: str) -> list[Object]:
        """Jobs by label."""
        return await self._list(_JOBS, namespace, "jobs", [("labelSelector", selector)])

    async def get_job(self, namespace: str, name: str) -> Object | None:
        """One Job, live."""
        return await self._get(f"{_JOBS}/namespaces/{namespace}/jobs/{name}")

    async def create_job(self, job: Object) -> Object:
        """Create a Job."""
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        return await self._call("POST", f"{_JOBS}/namespaces/{job['metadata']['namespace']}/jobs", job, query)

    async def delete_job(self, job: Object) -> None:
        """Delete in the foreground, by UID."""
        metadata = job["metadata"]
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": metadata["uid"]}}
        await self._unless(NOT_FOUND, "DELETE", f"{_JOBS}/namespaces/{metadata['namespace']}/jobs/{metadata['name']}", body)

    async def get_service(self, namespace: str, name: str) -> Object | None:
        """One Service, live."""
        return await self._get(f"{_CORE}/namespaces/{namespace}/services/{name}")

    async def create_service(self, service: Object) -> Object:
        """Create a Service."""
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        return await self._call("POST", f"{_CORE}/namespaces/{service['metadata']['namespace']}/services", service, query)

    async def list_pods(self, namespace: str | None, selector: str) -> list[Object]:
        """Pods by label."""
        return await self._list(_CORE, namespace, "pods", [("labelSelector", selector)])

    async def list_events(self, namespace: str, uid: str) -> list[Object]:
        """Events of one object."""
        return await self._list(_CORE, namespace, "events", [("fieldSelector", f"involvedObject.uid={uid}"), ("limit", "20")])

    async def create_event(self, event: Object) -> None:
        """Publish an Event."""
        await self._unless(CONFLICT, "POST", f"{_CORE}/namespaces/{event['metadata']['namespace']}/events", event)

    async def _list(self, api: str, namespace: str | None, plural: str, query: list[tuple[str, str]] | None = None) -> list[Object]:
        path = f"{api}/namespaces/{namespace}/{plural}" if namespace else f"{api}/{plural}"
        answer = await self._call("GET", path, None, query or [])
        kind = str(answer["kind"]).removesuffix("List")
        # Items of a list say neither kind nor version.
        return [{"apiVersion": answer["apiVersion"], "kind": kind, **item} for item in answer["items"]]

    async def _get(self, path: str) -> Object | None:
        return await self._unless(NOT_FOUND, "GET", path, None)

    async def _unless(self, code: int, method: str, path: str, body: Object | None) -> Object | None:
        try:
            return await self._call(method, path, body, [])
        except ApiError as error:
            if error.code == code:
                return None
            raise

    async def _call(
        self, method: str, path: str, body: Object | bytes | None, query: list[tuple[str, str]], content_type: str = "application/json"
    ) -> Object:
        began, code = time.monotonic(), NO_ANSWER
        try:
            answer = await self._send(method, path, body, query, content_type)
            code = 200
        except ApiError as error:
            code = error.code
            raise
        finally:
            self._tell(method, code, time.monotonic() - began)
        return answer

    async def _send(self, method: str, path: str, body: Object | bytes | None, query: list[tuple[str, str]], content_type: str) -> Object:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            answer: Object = await self._client.call_api(
                path,
                method,
                query_params=query,
                header_params=headers,
                body=body,
                response_types_map=_ANY,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=self._timeout,
            )
        except ApiException as error:
            raise ApiError(int(error.status or 0), _told(error), _retry_after(error.headers)) from error
        except (OSError, TimeoutError, aiohttp.ClientError) as error:  # an answer that breaks off is no OSError
            raise ApiError(NO_ANSWER, f"{method} {path}: {type(error).__name__}: {error}") from error
        return answer


async def configuration(environment: Mapping[str, str] = os.environ) -> Configuration:
    """How to reach the cluster: `KUBECONFIG` where it is set, else the pod's own ServiceAccount."""
    found = Configuration()
    if environment.get("KUBECONFIG"):
        await load_kube_config(config_file=environment["KUBECONFIG"], client_configuration=found)
    else:
        load_incluster_config(client_configuration=found)
    return found


def run_selector(uid: str) -> str:
    """Selector of the children of one run."""
    return f"{labels.RUN_UID}={uid}"


def _told(error: ApiException) -> str:
    return f"{error.status} {error.reason}: {str(error.body or '')[:500]}"


def _retry_after(headers: Mapping[str, str] | None) -> float | None:
    text = (headers or {}).get("Retry-After", "")
    return float(text) if text.isdigit() else None
