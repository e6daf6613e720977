"""Kueue's own manifests, for a manager that is a process of this machine: its webhooks are reached by URL instead of a Service. Pure."""

import base64
from collections.abc import Iterator
from pathlib import Path

import yaml

from controlplane.plane.api_client import Object

NAMESPACE = "kueue-system"
ACCOUNT = "controller-manager"
_RIGHTS = ("service_account", "role", "role_binding", "metrics_auth_role", "metrics_auth_role_binding")
_KINDS = ("job", "clusterqueue", "cohort", "resourceflavor", "workload")
"""The webhooks that stay: those of other integrations would ask a manager that does not know them."""


def documents(module: Path, url: str, certificate: bytes) -> Iterator[Object]:
    """Namespace, rights, CRDs and webhooks, as they are in the module, but for the way to the webhooks.

    Args:
        module: Folder of Kueue's Go module.
        url: Of the manager's webhooks.
        certificate: What the API server verifies them with, PEM.
    """
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    components = module / "config" / "components"
    bundle = base64.b64encode(certificate).decode()
    for name in _RIGHTS:
        yield from map(_in_namespace, _read(components / "rbac" / f"{name}.yaml"))
    (kinds,) = _read(components / "crd" / "kustomization.yaml")
    converted = {Path(patch["path"]).stem for patch in kinds["patches"]}
    for name in kinds["resources"]:
        for crd in _read(components / "crd" / name):
            yield _converted(crd, url, bundle) if f"webhook_in_{crd['spec']['names']['plural']}" in converted else crd
    for webhooks in _read(components / "webhook" / "manifests.yaml"):
        yield {**webhooks, "webhooks": [_by_url(one, url, bundle) for one in webhooks["webhooks"] if _kind(one) in _KINDS]}


def _read(path: Path) -> list[Object]:
    return [document for document in yaml.load_all(path.read_text(), yaml.CSafeLoader) if document]


def _in_namespace(right: Object) -> Object:
    placed = {"namespace": NAMESPACE} if right["kind"] == "ServiceAccount" else {}
    subjects = {"subjects": [{**one, "namespace": NAMESPACE} for one in right["subjects"]]} if "subjects" in right else {}
    return {**right, "metadata": {**right["metadata"], **placed}, **subjects}


def _converted(crd: Object, url: str, bundle: str) -> Object:
    way = {"clientConfig": {"url": f"{url}/convert", "caBundle": bundle}, "conversionReviewVersions": ["v1"]}
    return {**crd, "spec": {**crd["spec"], "conversion": {"strategy": "Webhook", "webhook": way}}}


def _kind(webhook: Object) -> str:
    """``job`` of ``mjob.kb.io``, which mutates, and of ``vjob.kb.io``, which validates."""
    return str(webhook["name"]).split(".")[0][1:]


def _by_url(webhook: Object, url: str, bundle: str) -> Object:
    return {**webhook, "clientConfig": {"url": url + webhook["clientConfig"]["service"]["path"], "caBundle": bundle}}
