"""What the chart's policy lets the operator's token create: the operator's own Jobs, and none that takes more than a stage has."""

import copy
import time
from pathlib import Path

import pytest
import yaml
from chart.rendering import objects

from controlplane.cluster import ApiError

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "jobs").glob("*.yaml"))
OPERATOR = "ser-system/ser-operator"
VALUES = {
    "clusterWide": True,
    "imagePullSecrets": [{"name": "pull"}],
    "allow": {"secrets": ["ser-*", "of-{namespace}", "!ser-admin"], "podTemplate": {"serviceAccounts": ["cloud"]}},
}
PLACES = {
    "ServiceAccount": "/api/v1/namespaces/ser-system/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}
SECRET = {"secretKeyRef": {"name": "admin", "key": "k"}}
PLAIN = {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}


@pytest.fixture(scope="module")
def create(control_plane):
    """Sends a Job as the operator's ServiceAccount, under the chart's rights and policy; nothing is kept."""
    api = control_plane.api()
    api.create("/api/v1/namespaces", {"metadata": {"name": "ser-system"}})
    installed = [one for one in objects(VALUES) if one["kind"] in PLACES and one["metadata"].get("namespace") in (None, "ser-system")]
    named = [one for one in installed if one["metadata"]["name"] != "ser-stage"]
    for one in named:
        api.create(PLACES[one["kind"]], one)

    def send(job, user=OPERATOR):
        path = f"/apis/batch/v1/namespaces/{job['metadata']['namespace']}/jobs?dryRun=All&fieldValidation=Strict"
        return control_plane.api(user).create(path, job)

    hostile = yaml.safe_load(GOLDEN[0].read_text())
    hostile["metadata"]["namespace"] = "ser-system"
    hostile["spec"]["template"]["spec"]["hostPID"] = True
    deadline = time.monotonic() + 180
    while not refused(send, hostile):
        assert time.monotonic() < deadline, "the API server does not heed the policy"
        time.sleep(0.2)
    yield send
    for one in reversed(named):
        api.delete(f"{PLACES[one['kind']]}/{one['metadata']['name']}")
    api.delete("/api/v1/namespaces/ser-system")


@pytest.fixture
def job(namespace):
    found = yaml.safe_load(GOLDEN[0].read_text())
    found["metadata"]["namespace"] = namespace
    return copy.deepcopy(found)  # YAML's anchors are one object


def refused(send, job):
    """What the API server says against a Job; empty: it takes it."""
    try:
        send(job)
    except ApiError as error:
        return error.message
    return ""


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_every_job_of_the_operator_is_taken(create, namespace, golden):
    own = yaml.safe_load(golden.read_text())
    own["metadata"]["namespace"] = namespace
    assert create(own)["kind"] == "Job"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda pod: pod["volumes"].append({"name": "x", "secret": {"secretName": "admin"}}), "Secrets of volumes"),
        (lambda pod: pod["volumes"].append({"name": "x", "secret": {"secretName": "ser-admin"}}), "Secrets of volumes"),
        (lambda pod: pod["volumes"].append({"name": "x", "secret": {"secretName": "of-another"}}), "Secrets of volumes"),
        (lambda pod: pod["volumes"].append({"name": "x", "projected": {"sources": [{"secret": {"name": "ser-s3"}}]}}), "volumes must be"),
        (lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "volumes must be"),
        (
            lambda pod: pod["volumes"].append({"name": "x", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "x"}}}),
            "volumes must be",
        ),
        (lambda pod: pod["containers"][0]["env"].append({"name": "X", "valueFrom": SECRET}), "Secrets of env"),
        (lambda pod: pod["containers"][0].update(envFrom=[{"secretRef": {"name": "admin"}}]), "Secrets of env"),
        (lambda pod: pod.update(initContainers=[{"name": "x", "image": "x", "env": [{"name": "X", "valueFrom": SECRET}], **PLAIN}]), "env"),
        (lambda pod: pod.update(imagePullSecrets=[{"name": "admin"}]), "imagePullSecrets"),
        (lambda pod: pod.update(serviceAccountName="default"), "ServiceAccount must be"),
        (lambda pod: pod.pop("serviceAccountName"), "no such key: serviceAccountName"),
        (lambda pod: pod.update(automountServiceAccountToken=True), "no token"),
        (lambda pod: pod.pop("automountServiceAccountToken"), "no token"),
        (lambda pod: pod.update(nodeName="gpu-node"), "its node"),
        (lambda pod: pod.update(hostNetwork=True), "its node"),
        (lambda pod: pod.update(hostIPC=True), "its node"),
        (lambda pod: pod["containers"][0]["ports"][0].update(hostPort=9400), "its node"),
        (lambda pod: pod.pop("securityContext"), "root"),
        (lambda pod: pod["containers"][0]["securityContext"].update(runAsNonRoot=False), "root"),
        (lambda pod: pod["containers"][0]["securityContext"].update(seccompProfile={"type": "Unconfined"}), "root"),
        (lambda pod: pod["containers"][0].pop("securityContext"), "no privileges"),
        (lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["NET_ADMIN"]), "no privileges"),
        (lambda pod: pod.update(initContainers=[{"name": "x", "image": "x"}]), "no privileges"),
    ],
)
def test_a_stolen_token_gets_no_more_than_a_stage_has(create, job, change, told):
    change(job["spec"]["template"]["spec"])
    assert told in refused(create, job)


def test_a_job_without_run_or_outside_the_network_policies_is_refused(create, job):
    ownerless = copy.deepcopy(job)
    del ownerless["metadata"]["ownerReferences"]
    assert "a SERRun must control it" in refused(create, ownerless)
    del job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    assert "ser-stage" in refused(create, job)


def test_a_secret_of_the_own_namespace_by_pattern_is_taken_and_nobody_else_is_judged(create, job):
    secret = job["spec"]["template"]["spec"]["volumes"][-1]["secret"]
    secret["secretName"] = f"of-{job['metadata']['namespace']}"
    assert create(job)["kind"] == "Job"
    secret["secretName"] = "admin"
    assert create(job, user="admin")["kind"] == "Job"
