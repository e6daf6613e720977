"""What the chart's policy lets the operator's token create: the operator's own Jobs, and none that takes more than a stage has."""

import copy
import time
from pathlib import Path

import pytest
import yaml
from chart.rendering import objects

from controlplane.cluster import ApiError
from ser_core.api.serrun import SERRun
from ser_operator.objects import gang
from ser_operator.objects.render import owner

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "jobs").glob("*.yaml"))
OPERATOR = "ser-system/ser-operator"
VALUES = {
    "clusterWide": True,
    "imagePullSecrets": [{"name": "pull"}],
    "stages": {"gpu": {"nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "gpu-nodes", "operator": "Exists"}]}},
    "allow": {
        "secrets": ["ser-*", "of-{namespace}", "!ser-admin"],
        "queues": ["team"],
        "nodeSelectors": ["gpu=*", "zone=*", "!zone=admin"],
        "nodes": 4,
        "gpus": 32,
        "podTemplate": {
            "labels": ["team"],
            "annotations": ["sidecar.istio.io/inject"],
            "volumes": ["persistentVolumeClaim/models", "ephemeral"],
            "serviceAccounts": ["cloud"],
            "runtimeClasses": ["gvisor"],
            "schedulers": ["volcano"],
            "affinity": ["nodeAffinity"],
            "topologyKeys": ["zone"],
            "resourceClaims": ["mig"],
            "resources": ["rdma/*"],
        },
    },
}
"""What the golden Jobs ask for, and no more."""
PLACES = {
    "ServiceAccount": "/api/v1/namespaces/ser-system/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}
CHOSEN = {"key": "pool", "operator": "In", "values": ["admin"]}
NODES = {
    "affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [CHOSEN]}]}}
    }
}
PODS = {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}}
SPREAD = {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway"}]}
NOT_THESE = {
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}]
            }
        }
    }
}
SECRET = {"secretKeyRef": {"name": "admin", "key": "k"}}
SPEC = {
    "rewardModel": {"base": "hf://org/model"},
    "data": {"source": {"uri": "hf://org/data"}},
    "storage": {"uri": "s3://bucket/runs"},
}
CLONE = {"dataSource": {"kind": "PersistentVolumeClaim", "name": "theirs"}}
PLAIN = {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}


def claim(more):
    """A claim that lives as long as its pod."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Ti"}}}
    return {"volumeClaimTemplate": {"spec": {**spec, **more}}}


@pytest.fixture(scope="module")
def create(control_plane):
    """Sends a Job as the operator's ServiceAccount, under the chart's rights and policy; nothing is kept."""
    api = control_plane.api()
    api.create("/api/v1/namespaces", {"metadata": {"name": "ser-system"}})
    installed = [one for one in objects(VALUES) if one["kind"] in PLACES and one["metadata"].get("namespace") in (None, "ser-system")]
    named = [one for one in installed if one["metadata"]["name"] != "ser-stage"]
    for one in named:
        api.create(PLACES[one["kind"]], one)

    def send(one, user=OPERATOR):
        group = "api/v1" if one["kind"] == "Service" else "apis/batch/v1"
        path = f"/{group}/namespaces/{one['metadata']['namespace']}/{one['kind'].lower()}s?dryRun=All&fieldValidation=Strict"
        return control_plane.api(user).create(path, one)

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
        (lambda pod: pod["volumes"].append({"name": "x", "persistentVolumeClaim": {"claimName": "of-others"}}), "volumes must be"),
        (lambda pod: pod["volumes"].append({"name": "x", "ephemeral": claim(CLONE)}), "volumes must be"),
        (lambda pod: pod["volumes"].append({"name": "x", "ephemeral": claim({"volumeName": "theirs"})}), "volumes must be"),
        (lambda pod: pod.update(priorityClassName="system-node-critical"), "PriorityClass must be"),
        (lambda pod: pod.update(tolerations=[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]), "taints"),
        (lambda pod: pod.update(tolerations=[{"operator": "Exists"}]), "taints"),
        (lambda pod: pod.update(nodeSelector={"node-role.kubernetes.io/control-plane": ""}), "nodeSelector"),
        (lambda pod: pod.update(NODES), "affinity"),
        (lambda pod: pod.update(NOT_THESE), "affinity"),
        (lambda pod: pod.update(PODS), "affinity"),
        (lambda pod: pod.update(SPREAD), "topologySpreadConstraints"),
        (lambda pod: pod.update(schedulerName="mine"), "scheduler"),
        (lambda pod: pod.update(runtimeClassName="runc"), "RuntimeClass"),
        (lambda pod: pod.update(resourceClaims=[{"name": "x", "resourceClaimName": "others"}]), "resource claims"),
        (lambda pod: pod["containers"][0].update(resources={"limits": {"smarter-devices/fuse": "1"}}), "resources must be"),
        (lambda pod: pod["containers"][0].update(resources={"limits": {"nvidia.com/gpu": "33"}}), "32 GPUs"),
        (lambda pod: pod["containers"][0]["securityContext"].update(appArmorProfile={"type": "Unconfined"}), "AppArmor"),
        (lambda pod: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]), "AppArmor"),
    ],
)
def test_a_stolen_token_gets_no_more_than_a_stage_has(create, job, change, told):
    change(job["spec"]["template"]["spec"])
    assert told in refused(create, job)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda job: job["metadata"].pop("ownerReferences"), "a SERRun must control it"),
        (lambda job: job["metadata"]["labels"].update({"kueue.x-k8s.io/queue-name": "others"}), "allow.queues"),
        (lambda job: job["metadata"]["labels"].update({"kueue.x-k8s.io/priority-class": "system-first"}), "allow.priorityClasses"),
        (lambda job: job["spec"].update(parallelism=5, completions=5), "4 pods"),
        (
            lambda job: job["spec"].update(manualSelector=True, selector={"matchLabels": job["spec"]["template"]["metadata"]["labels"]}),
            "selector",
        ),
        (lambda job: job["spec"]["template"]["metadata"]["labels"].pop("app.kubernetes.io/name"), "ser-stage"),
        (lambda job: job["spec"]["template"]["metadata"]["labels"].update(role="database-client"), "allow.podTemplate.labels"),
        (
            lambda job: job["spec"]["template"]["metadata"].update(annotations={"iam.amazonaws.com/role": "x"}),
            "allow.podTemplate.annotations",
        ),
    ],
)
def test_nor_a_job_that_is_not_as_the_operators(create, job, change, told):
    change(job)
    assert told in refused(create, job)


def test_an_empty_volume_that_a_list_opens_is_taken(create, job):
    job["spec"]["template"]["spec"]["volumes"].append({"name": "x", "ephemeral": claim({})})
    assert create(job)["kind"] == "Job"


def test_what_the_chart_itself_gives_stages_with_gpus_is_taken(create, job):
    pod = job["spec"]["template"]["spec"]
    pod.update(nodeSelector={"pool": "gpu"}, tolerations=[{"key": "gpu-nodes", "operator": "Exists"}])
    assert create(job)["kind"] == "Job"


@pytest.fixture
def service(namespace):
    run = SERRun.model_validate({"metadata": {"name": "hh", "namespace": namespace, "uid": "5f2c"}, "spec": SPEC})
    return gang.service(run, owner(run))


def test_the_service_of_a_gang_is_taken(create, service):
    assert create(service)["kind"] == "Service"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda one: one["metadata"].pop("ownerReferences"), "a SERRun must control it"),
        (lambda one: one["spec"].update(type="LoadBalancer", clusterIP="", ports=[{"port": 443}]), "headless"),
        (lambda one: one["spec"].update(clusterIP="", ports=[{"port": 443}]), "headless"),
        (lambda one: one["spec"].update(externalIPs=["192.0.2.1"], ports=[{"port": 443}]), "headless"),
        (lambda one: one["spec"].update(selector={"app": "database"}), "headless"),
        (lambda one: one["spec"].pop("selector"), "headless"),
    ],
)
def test_no_other_service_is(create, service, change, told):
    change(service)
    assert told in refused(create, service)


def test_a_secret_of_the_own_namespace_by_pattern_is_taken_and_nobody_else_is_judged(create, job):
    secret = job["spec"]["template"]["spec"]["volumes"][-1]["secret"]
    secret["secretName"] = f"of-{job['metadata']['namespace']}"
    assert create(job)["kind"] == "Job"
    secret["secretName"] = "admin"
    assert create(job, user="admin")["kind"] == "Job"
