"""What the operator sends is what a real API server takes: Jobs, also where pods must be restricted, and any status."""

import asyncio
from pathlib import Path

import pytest
import yaml

from controlplane.cluster import ApiError
from controlplane.faults.scenario import SPEC
from ser_core.api.serrun import API_VERSION, SERRun
from ser_operator.cluster.kubernetes_api import Cluster
from ser_operator.cluster.transport import configuration
from ser_operator.objects import gang, render

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "jobs").glob("*.yaml"))
LEVEL = "pod-security.kubernetes.io/enforce"


@pytest.fixture
def restricted(control_plane, namespace):
    """A namespace in which only restricted pods may be made."""
    api = control_plane.api()
    api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {LEVEL: "restricted"}}})
    for name in ("ser-stage", "cloud"):
        api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
    api.create("/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": "gvisor"}, "handler": "runsc"})
    api.create("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "low"}, "value": 1})
    yield namespace
    api.delete("/apis/scheduling.k8s.io/v1/priorityclasses/low")
    api.delete("/apis/node.k8s.io/v1/runtimeclasses/gvisor")


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_a_job_and_its_pod_are_taken_by_a_server_side_dry_run(control_plane, restricted, golden):
    api = control_plane.api()
    job = yaml.safe_load(golden.read_text())
    job["metadata"]["namespace"] = restricted

    made = api.create(f"/apis/batch/v1/namespaces/{restricted}/jobs?dryRun=All&fieldValidation=Strict", job)
    pod = {"metadata": {"name": "p", "labels": job["spec"]["template"]["metadata"]["labels"]}, "spec": job["spec"]["template"]["spec"]}
    api.create(f"/api/v1/namespaces/{restricted}/pods?dryRun=All&fieldValidation=Strict", pod)

    retries = {"backoffLimit", "backoffLimitPerIndex"} & job["spec"].keys()
    assert {name: made["spec"][name] for name in retries} == {name: job["spec"][name] for name in retries}
    assert made["spec"]["podReplacementPolicy"] == "Failed"


def test_the_service_of_a_gang_is_taken_by_a_server_side_dry_run(control_plane, namespace):
    run = SERRun.model_validate({"metadata": {"name": "x" * 253, "namespace": namespace, "uid": "5f2c"}, "spec": SPEC})
    service = gang.service(run, render.owner(run))

    made = control_plane.api().create(f"/api/v1/namespaces/{namespace}/services?dryRun=All&fieldValidation=Strict", service)

    assert made["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("text", ["plain", "é – “quoted”", "😀 beyond the basic plane", 'tab\tand "quotes": {x}'])
def test_a_status_of_any_text_is_taken(control_plane, crd, namespace, text):
    """Server-side apply reads YAML, to which an escaped emoji is no text."""
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/serruns"
    run = control_plane.api().create(path, {"apiVersion": API_VERSION, "kind": "SERRun", "metadata": {"name": "x"}, "spec": dict(SPEC)})

    async def apply():
        found = await configuration({"KUBECONFIG": str(control_plane.kubeconfig())})
        async with Cluster(found, 10) as cluster:
            return await cluster.apply_status(run, {"message": text})

    assert asyncio.run(apply())["status"]["message"] == text


def test_the_restriction_would_refuse_another_pod(control_plane, restricted):
    """So that the test above can fail."""
    pod = yaml.safe_load(GOLDEN[0].read_text())["spec"]["template"]["spec"]
    pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True

    with pytest.raises(ApiError, match="violates PodSecurity"):
        control_plane.api().create(f"/api/v1/namespaces/{restricted}/pods?dryRun=All", {"metadata": {"name": "p"}, "spec": pod})
