"""Runs on a cluster, through the official client: the only module that knows it, and only once a command needs it.

Objects are plain dicts, as the API server sends them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ser_core import deep_json
from ser_core.api.problems import problems
from ser_core.api.run_template import resolved
from ser_core.api.serrun import API_VERSION, SERRun
from ser_core.cli.access.impersonation import impersonation
from ser_core.cli.access.place import Place
from ser_core.errors import ClusterAccessDenied, ClusterError, SERError, SpecError

Object = Mapping[str, Any]

RUN_UID, ITERATION, STAGE, ATTEMPT = "ser.dev/run-uid", "ser.dev/iteration", "ser.dev/stage", "ser.dev/attempt"
"""Labels of a stage's pods (docs/operations.md)."""
POD_INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation of the pods of a stage that has several."""
CONTAINER = "stage"
FIELD_MANAGER = "ser"
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
_RUNS = f"/apis/{API_VERSION}"
_ANY = dict.fromkeys((200, 201), "object")
_UNKNOWN_KIND = "could not find the requested resource"
"""What the API server says where the CRD is not installed."""
_APPLY, _MERGE = "application/apply-patch+yaml; charset=utf-8", "application/merge-patch+json"


class Cluster:
    """One namespace of a cluster. Every method raises `ClusterError` when the API server cannot be reached or fails.

    Args:
        client: An ``ApiClient`` of the official client.
        namespace: Of the runs.
    """

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    def run(self, name: str, templates: Object | None = None) -> SERRun:
        """One run.

        Args:
            name: Its name.
            templates: Specs of templates by name, for a run whose template the operator has not copied yet.

        Raises:
            SpecError: There is none of that name (``RunNotFound``), or this version cannot read it (``UnreadableRun``).
        """
        try:
            body = self._call("GET", self._run_path(name))
        except _NotFound as error:
            raise self._no_run(name, error) from error
        try:
            return SERRun.read(resolved(body, templates))
        except ValidationError as error:
            told = "; ".join(f"{problem.field}: {problem.text}" for problem in problems(error, SERRun))
            raise SpecError(
                f"run {self.namespace}/{name} cannot be read by this version of ser: {told}",
                reason="UnreadableRun",
                hint=f"kubectl get serrun -n {self.namespace} {name} -o yaml; use the ser of the operator's version",
            ) from error

    def label(self, name: str, key: str) -> str | None:
        """A label of a run, empty where it has none; None: there is no such run."""
        try:
            body = self._call("GET", self._run_path(name))
        except _NotFound as error:
            if _UNKNOWN_KIND in error.message:
                raise self._no_run(name, error) from error
            return None
        return str((body["metadata"].get("labels") or {}).get(key, ""))

    def create(self, document: Object) -> None:
        """Create a run.

        Raises:
            SpecError: Admission says no (``RefusedByServer``), in its own words.
        """
        metadata = {**document.get("metadata", {}), "namespace": self.namespace}
        body = json.loads(json.dumps({**document, "metadata": metadata}, default=str))  # YAML knows dates, JSON does not
        try:
            self._call("POST", f"{_RUNS}/namespaces/{self.namespace}/serruns", body, [("fieldValidation", "Strict")])
        except _Refused as error:
            raise _not_admitted(error) from error

    def run_names(self) -> list[str]:
        """Names of the runs of the namespace."""
        return [str(item["metadata"]["name"]) for item in self._items(f"{_RUNS}/namespaces/{self.namespace}/serruns")]

    def present(self, namespace: str) -> tuple[set[str], set[str]]:
        """Of the runs of a namespace the UIDs, and what their `spec.from.run` name.

        Raises:
            SpecError: The cluster knows no SERRuns (``NotInstalled``): nothing says then which are gone.
        """
        try:
            items = self._items(f"{_RUNS}/namespaces/{namespace}/serruns")
        except _NotFound as error:
            raise _not_installed() from error
        wanted = {str(((item.get("spec") or {}).get("from") or {}).get("run", "")) for item in items}
        return {str(item["metadata"]["uid"]) for item in items}, wanted - {""}

    def authorities(self, namespace: str) -> str:
        """The certificate authorities (PEM) that pods of a namespace are given; where that may not be read, those of the kubeconfig."""
        try:
            found = self._call("GET", f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")
            return str((found.get("data") or {}).get("ca.crt", ""))
        except (_NotFound, ClusterAccessDenied):
            file = self._client.configuration.ssl_ca_cert
            return Path(file).read_text(encoding="utf-8") if file else ""

    def suspend(self, name: str, suspend: bool) -> None:
        """Set ``spec.suspend``."""
        self._call("PATCH", self._run_path(name), {"spec": {"suspend": suspend}}, content_type=_MERGE)

    def reopen(self, name: str, reopen: int) -> None:
        """Set ``spec.reopen``."""
        self._call("PATCH", self._run_path(name), {"spec": {"reopen": reopen}}, content_type=_MERGE)

    def dry_run(self, document: Object, name: str) -> None:
        """Ask admission whether it would take ``document``, as `kubectl apply --server-side --dry-run=server` does. Nothing is kept.

        Raises:
            SpecError: It would not (``RefusedByServer``), in its own words.
        """
        metadata = {**document.get("metadata", {}), "namespace": self.namespace}
        query = [("fieldManager", FIELD_MANAGER), ("force", "true"), ("dryRun", "All"), ("fieldValidation", "Strict")]
        body = json.dumps({**document, "metadata": metadata}, ensure_ascii=False, default=str).encode()
        try:
            self._call("PATCH", self._run_path(name), body, query, content_type=_APPLY)
        except _Refused as error:
            raise _not_admitted(error) from error

    def pods(self, uid: str) -> list[Object]:
        """Pods of the stages of a run."""
        return self._items(f"/api/v1/namespaces/{self.namespace}/pods", [("labelSelector", f"{RUN_UID}={uid}")])

    def log(self, pod: str) -> str:
        """What a pod has written so far."""
        answer = self._call("GET", f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log", None, [("container", CONTAINER)], text=True)
        return str(answer)

    def events(self, uid: str) -> list[Object]:
        """Events of one object."""
        return self._items(f"/api/v1/namespaces/{self.namespace}/events", [("fieldSelector", f"involvedObject.uid={uid}")])

    def nodes(self) -> list[Object]:
        """The nodes of the cluster."""
        return self._items("/api/v1/nodes")

    def _run_path(self, name: str) -> str:
        return f"{_RUNS}/namespaces/{self.namespace}/serruns/{name}"

    def _no_run(self, name: str, error: SERError) -> SpecError:
        if _UNKNOWN_KIND in error.message:
            return _not_installed()
        try:
            names = self.run_names()
        except ClusterError:  # a user who may read one run need not be allowed to list them
            names = []
        begin = f"name the run's namespace with -n, or start one: kubectl apply -n {self.namespace} -f serrun.yaml"
        hint = f"runs there: {', '.join(names)}" if names else begin
        return SpecError(f"namespace {self.namespace} holds no run {name!r}", reason="RunNotFound", hint=hint)

    def _items(self, path: str, query: Sequence[tuple[str, str]] = ()) -> list[Object]:
        return list(self._call("GET", path, None, query)["items"])

    def _call(
        self,
        method: str,
        path: str,
        body: Object | bytes | None = None,
        query: Sequence[tuple[str, str]] = (),
        *,
        content_type: str = "application/json",
        text: bool = False,
    ) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = self._client.call_api(
                path,
                method,
                query_params=list(query),
                header_params={"Accept": "*/*" if text else "application/json", "Content-Type": content_type},
                body=body,
                response_types_map=_ANY,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=not text,
                _request_timeout=(CONNECT_SECONDS, READ_SECONDS),
            )
            answer = answer.data.decode(errors="replace") if text else answer
        except ApiException as error:
            raise _refusal(error.status, error.reason, error.body, self.namespace) from error
        except (HTTPError, OSError) as error:
            what = f"{self._client.configuration.host} does not answer: {_innermost(error)}"
            hint = "is the cluster up, and are --context and --kubeconfig the right ones?"
            raise ClusterError(what, reason="ClusterUnreachable", hint=hint) from error
        if not isinstance(answer, str if text else dict):
            what = f"{self._client.configuration.host} does not answer like an API server"
            raise ClusterError(
                what, reason="NoApiServer", hint="check the server in the kubeconfig, and whether a proxy answers in its place"
            )
        return answer


def _not_installed() -> SpecError:
    return SpecError("the cluster knows no SERRuns", reason="NotInstalled", hint="install the operator and its CRD: docs/install.md")


class _NotFound(ClusterError):
    """404."""


class _Refused(ClusterError):
    """400, 409 or 422: admission said no."""


def _not_admitted(error: _Refused) -> SpecError:
    return SpecError(f"the API server refuses it: {error.message}", reason="RefusedByServer", hint="docs/serrun.md describes every field")


def connect_cluster(place: Place) -> Cluster:
    """The cluster of the kubeconfig. Nothing is sent yet.

    Raises:
        SpecError: The client is not installed (``MissingPackage``), no kubeconfig names a cluster (``NoCluster``), or it
            acts as somebody whom the client cannot name (``NotSupported``).
    """
    try:
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config import ConfigException, kube_config, list_kube_config_contexts, load_kube_config
        from yaml import YAMLError
    except ModuleNotFoundError as error:
        raise SpecError(
            f"{error.name} is not installed, runs on a cluster are read with it",
            reason="MissingPackage",
            hint="in a checkout of this project: pip install '.[operator]'; for a run of this machine give its SERRun file",
        ) from error
    deep_json.install()
    file, configuration = None if place.kubeconfig is None else str(place.kubeconfig), Configuration()
    try:
        load_kube_config(config_file=file, context=place.context, client_configuration=configuration)
        contexts, active = list_kube_config_contexts(config_file=file)
        chosen = next((one for one in contexts if one["name"] == place.context), active)
        users = kube_config.KubeConfigMerger(file or kube_config.KUBE_CONFIG_DEFAULT_LOCATION).config.value["users"]
        headers = impersonation(
            next((one.value.get("user") or {} for one in users if one.value["name"] == chosen["context"].get("user")), {})
        )
    except (ConfigException, OSError, YAMLError, LookupError, TypeError, AttributeError, ValueError) as error:
        told = " ".join(str(error).removeprefix("Invalid kube-config file. ").split())
        hint = "set KUBECONFIG, or give --kubeconfig; for a run of this machine give its SERRun file"
        raise SpecError(f"{file or 'the kubeconfig'} names no cluster: {told}", reason="NoCluster", hint=hint) from error
    configuration.retries = False
    client = ApiClient(configuration)
    for name, value in headers.items():
        client.set_default_header(name, value)
    return Cluster(client, place.namespace or chosen["context"].get("namespace") or "default")


def _refusal(status: int, reason: str, body: str | None, namespace: str) -> SERError:
    try:
        told = str(json.loads(body or "")["message"])
    except (ValueError, KeyError, TypeError):
        told = f"{status} {reason}: {body or ''}"[:500]
    if status == 401:
        return ClusterAccessDenied("the cluster does not accept your credentials", hint="log in again, or give another --context")
    if status == 403:
        return ClusterAccessDenied(told, hint=f"ask for that right; what you may do: kubectl auth can-i --list -n {namespace}")
    if status == 404:
        return _NotFound(told, reason="NotFound")
    if status in (400, 409, 422):
        return _Refused(told, reason="RefusedByServer")
    return ClusterError(f"the API server failed: {told}", hint="try again")


def _innermost(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else str(error).rpartition(": ")[2] or type(error).__name__
