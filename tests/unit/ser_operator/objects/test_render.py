"""Jobs as they are sent. The golden files are read by people; `SER_UPDATE_GOLDEN=1 make unit` writes them anew."""

import json
import os
from pathlib import Path

import pytest
import yaml

from ser_core.api.serrun import SERRun
from ser_core.api.spec.resources import Toleration
from ser_core.api.stage import ManifestRef, RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.loop.deciding.stages import StageKey, job_name
from ser_core.loop.observed import StartStage
from ser_operator.objects import gang, render
from ser_operator.settings import Settings, from_environment

GOLDEN = Path(__file__).parents[3] / "golden" / "jobs"
SETTINGS = Settings(image="registry.example/ser@sha256:0123", image_pull_secrets=("pull",))
GPU = {
    "gpus": 1,
    "cpu": "4",
    "memory": "32Gi",
    "nodeSelector": {"gpu": "h100"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "priorityClassName": "low",
}


POD_TEMPLATE = yaml.safe_load("""
labels: {team: ml, ser.dev/stage: prepare}
annotations: {sidecar.istio.io/inject: "false"}
env: [{name: HTTPS_PROXY, value: "http://proxy:3128"}, {name: SER_STAGE, value: "{}"}]
envFrom: [{configMapRef: {name: nccl}}]
volumes: [{name: models, persistentVolumeClaim: {claimName: models}}, {name: more, emptyDir: {}}]
volumeMounts: [{name: models, mountPath: /models, readOnly: true}, {name: more, mountPath: /more}]
serviceAccountName: cloud
imagePullSecrets: [{name: ser-pull}]
runtimeClassName: gvisor
schedulerName: volcano
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 1, preference: {matchExpressions: [{key: zone, operator: In, values: [a]}]}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
resourceClaims: [{name: device, resourceClaimTemplateName: mig}]
resources: {rdma/hca: "1"}
sidecars: [{name: proxy, image: "registry.example/proxy:1", env: [{name: A, value: b}]}]
""")
"""Every key at once, and some that try to be the operator's."""


def run(name="hh", **spec):
    document = {
        "rewardModel": {"base": "hf://org/model"},
        "data": {"source": {"uri": "hf://org/data"}},
        "storage": {"uri": "s3://bucket/runs", "credentialsSecret": "ser-s3"},
        **spec,
    }
    return SERRun.model_validate({"metadata": {"name": name, "namespace": "lab", "uid": "5f2c"}, "spec": document})


def rendered(run, stage=StageKind.PREPARE, iteration=0, mode="execute", settings=SETTINGS, metadata=None, **limits):
    spec = StageSpec(
        run=RunIdentity(namespace="lab", name=run.metadata.name, uid="5f2c"),
        stage=stage,
        iteration=iteration,
        attempt=1,
        mode=mode,
        spec=run.spec,
        inputs={"prepared": ManifestRef(stage=StageKind.PREPARE, iteration=0, uri="s3://bucket/m", sha256="00")} if iteration else {},
        threads=2,
    )
    action = StartStage(spec, job_name(run, StageKey(iteration, stage), 1), **{"max_seconds": None, **limits})
    return render.job({"metadata": metadata or {}}, run, action, SETTINGS.image, settings)


def test_nodes_where_attempts_have_failed_are_avoided_but_not_forbidden():
    pod = rendered(run(), avoid_nodes=("gpu-1", "gpu-2"))["spec"]["template"]["spec"]

    (term,) = pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    others = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in ("gpu-1", "gpu-2")]
    assert term["preference"] == {"matchFields": others}
    assert "affinity" not in rendered(run())["spec"]["template"]["spec"]


def environment(job):
    return {entry["name"]: entry.get("value") for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_stages_are_told_whose_cluster_they_run_in_where_it_has_an_identity():
    one = run()
    spec = StageSpec(
        run=RunIdentity(namespace="lab", name="hh", uid="5f2c"), stage=StageKind.PREPARE, iteration=0, attempt=1, spec=one.spec, threads=2
    )
    made = [render.job({"metadata": {}}, one, StartStage(spec, "j", None), "i", SETTINGS, cluster) for cluster in ("abc", "")]
    assert [environment(job).get("SER_CLUSTER") for job in made] == ["abc", None]


GANG = {"retrain": {"nodes": 4, "gpus": 8}, "label": {"nodes": 2, "gpus": 4}}
CASES = {
    "retrain-on-four-nodes": rendered(run(resources=GANG), StageKind.RETRAIN, 1),
    "label-on-two-nodes": rendered(run(resources=GANG), StageKind.LABEL, 1),
    "prepare": rendered(run(hub={"credentialsSecret": "ser-hub"})),
    "retrain-on-a-gpu-from-a-queue": rendered(run(queueName="team", resources={"retrain": GPU}), StageKind.RETRAIN, 1, max_seconds=3600),
    "retrain-with-a-pod-template": rendered(
        run(podTemplate=POD_TEMPLATE, resources={"retrain": GPU}), StageKind.RETRAIN, 1, avoid_nodes=("gpu-1",)
    ),
    "report": rendered(run(resources={"retrain": GPU, "prepare": {"cpu": "500m"}}), StageKind.RETRAIN, 1, "report"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_job_is_what_its_golden_file_shows(name):
    job = CASES[name]
    text = yaml.safe_dump(job, sort_keys=False, width=120)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("SER_UPDATE_GOLDEN"):
        path.write_text(text)

    assert path.read_text() == text


def test_the_supervisor_is_told_how_long_it_may_run_and_the_job_is_not_as_it_would_count_the_wait_for_a_node():
    jobs = [rendered(run(), StageKind.RETRAIN, 1, max_seconds=seconds) for seconds in (900, None)]

    assert [environment(job).get("SER_BUDGET_SECONDS") for job in jobs] == ["900", None]
    assert not any("activeDeadlineSeconds" in job["spec"] for job in jobs)


@pytest.mark.parametrize("hostile", ["$(AWS_SECRET_ACCESS_KEY)", "$$(X)", "; rm -rf /", "`id`", "\\u0024(X)", "“$”\n"])
def test_no_text_of_a_user_is_expanded_or_lost_on_the_way_to_the_stage(hostile):
    job = rendered(run(data={"source": {"uri": "hf://org/data", "splitBy": hostile}}))

    text = environment(job)["SER_STAGE"]

    assert "$" not in text
    assert StageSpec.model_validate_json(text).spec.data.source.split_by == hostile
    assert json.loads(text)["spec"]["data"]["source"]["splitBy"] == hostile


@pytest.mark.parametrize("name", ["a", "a" * 253, ".".join(["a" * 60] * 4), "x-" * 30 + "x"])
def test_names_and_labels_fit_whatever_the_run_is_called(name):
    job = rendered(run(name), StageKind.CONTROL_PSEUDO_LABEL_ONCE)

    assert len(job["metadata"]["name"]) <= 63 - len("-0-abcde") + 1
    assert all(len(value) <= 63 for value in job["metadata"]["labels"].values())


def test_two_runs_with_one_name_have_different_jobs():
    first, second = run(), run()
    second = second.model_copy(update={"metadata": second.metadata.model_copy(update={"uid": "other"})})

    assert job_name(first, StageKey(0, StageKind.PREPARE), 1) != job_name(second, StageKey(0, StageKind.PREPARE), 1)


def test_only_prepare_has_the_credentials_of_the_hub():
    spec = {"hub": {"credentialsSecret": "ser-hub"}}

    mounted = [
        [volume["secret"]["secretName"] for volume in job["spec"]["template"]["spec"]["volumes"] if "secret" in volume]
        for job in (rendered(run(**spec)), rendered(run(**spec), StageKind.RETRAIN))
    ]

    assert mounted == [["ser-s3", "ser-hub"], ["ser-s3"]]


def test_looking_for_a_manifest_takes_no_gpu():
    container = CASES["report"]["spec"]["template"]["spec"]["containers"][0]

    assert container["resources"]["limits"] == {"cpu": "500m"}


def test_a_gang_meets_at_its_pod_0_by_a_name_that_its_service_gives():
    job, service = CASES["retrain-on-four-nodes"], gang.service(run(), render.owner(run()))
    given = environment(job)

    assert given["MASTER_ADDR"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}.lab.svc"
    assert (given["SER_PODS"], given["SER_PROCESSES"]) == ("4", "8")
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()


def test_a_gang_that_has_lost_a_pod_is_over_and_a_part_that_crashed_is_repeated_alone():
    training, labelling = CASES["retrain-on-four-nodes"]["spec"], CASES["label-on-two-nodes"]["spec"]

    assert training["backoffLimit"] == 0
    assert "backoffLimit" not in labelling
    assert labelling["backoffLimitPerIndex"] == 1


@pytest.mark.parametrize("name", CASES)
def test_a_pod_that_the_cluster_takes_away_ends_the_attempt(name):
    rules = CASES[name]["spec"]["podFailurePolicy"]["rules"]

    assert {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]} in rules
    assert "Ignore" not in [rule["action"] for rule in rules]


@pytest.mark.parametrize("stage", ["prepare", "filter"])
def test_a_stage_of_one_process_has_one_pod_whatever_is_asked(stage):
    job = rendered(run(resources={stage: {"nodes": 4, "gpus": 8}}), StageKind(stage))

    assert job["spec"]["completions"] == 1
    assert not {"SER_PODS", "SER_PROCESSES", "MASTER_ADDR"} & environment(job).keys()


def test_looking_for_the_manifest_of_a_gang_takes_one_process():
    job = rendered(run(resources=GANG), StageKind.RETRAIN, 1, "report")

    assert job["spec"]["completions"] == 1
    assert not {"SER_PODS", "SER_PROCESSES", "MASTER_ADDR"} & environment(job).keys()


def test_every_pod_is_restricted_and_has_no_token():
    for job in CASES.values():
        pod = job["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 65532  # else its group is root's
        assert pod["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(("given", "ids"), [("{}", {}), ('{"runAsUser": 1000}', {"runAsUser": 1000})])
def test_the_platform_chooses_the_user_and_groups_that_are_not_given(given, ids):
    settings = from_environment({"SER_OPERATOR_IMAGE": "any", "SER_OPERATOR_SECURITY_CONTEXT": given})

    context = rendered(run(), settings=settings)["spec"]["template"]["spec"]["securityContext"]

    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **ids}


@pytest.mark.parametrize(("given", "mode"), [("{}", 0o444), ('{"fsGroup": 65532}', 0o440)])
def test_a_stage_reads_its_secrets_whoever_it_is(given, mode):
    settings = from_environment({"SER_OPERATOR_IMAGE": "any", "SER_OPERATOR_SECURITY_CONTEXT": given})

    volumes = rendered(run(), settings=settings)["spec"]["template"]["spec"]["volumes"]

    assert [one["secret"]["defaultMode"] for one in volumes if "secret" in one] == [mode]


def test_no_volume_of_a_pod_is_without_an_end():
    volumes = rendered(run())["spec"]["template"]["spec"]["volumes"]

    sizes = {one["name"]: one["emptyDir"]["sizeLimit"] for one in volumes if "emptyDir" in one}
    assert sizes == {"work": "1Ti", "scratch": "100Gi", "shared-memory": "16Gi"}


@pytest.mark.parametrize(("asked", "memory"), [({}, "8Gi"), ({"memory": "64Gi"}, "64Gi")])
def test_a_stage_that_says_no_memory_has_the_administrators(asked, memory):
    defaults = '{"memory": "8Gi", "ephemeralStorage": "50Gi"}'
    settings = from_environment(
        {"SER_OPERATOR_IMAGE": "any", "SER_OPERATOR_STAGE_DEFAULTS": defaults, "SER_OPERATOR_GPU_RESOURCE": "amd.com/gpu"}
    )
    resources = {"retrain": {"gpus": 2, **asked}}

    container = rendered(run(resources=resources), StageKind.RETRAIN, 1, settings=settings)["spec"]["template"]["spec"]["containers"][0]

    assert container["resources"]["limits"] == {"memory": memory, "ephemeral-storage": "50Gi", "amd.com/gpu": "2"}


def test_stages_with_gpus_get_the_operators_nodes_unless_the_run_says_otherwise():
    settings = SETTINGS.model_copy(
        update={"gpu_node_selector": {"gpu": "any", "pool": "ml"}, "gpu_tolerations": (Toleration(key="pool", operator="Exists"),)}
    )
    resources = {"retrain": GPU, "label": {"cpu": "1"}}

    with_gpus, without = (
        rendered(run(resources=resources), stage, 1, settings=settings)["spec"]["template"]["spec"]
        for stage in (StageKind.RETRAIN, StageKind.LABEL)
    )

    assert with_gpus["nodeSelector"] == {"gpu": "h100", "pool": "ml"}
    assert [one["key"] for one in with_gpus["tolerations"]] == ["gpu", "pool"]
    assert not {"nodeSelector", "tolerations"} & without.keys()


@pytest.mark.parametrize(("named", "expected"), [(None, "shared"), ("team", "team")])
def test_a_run_without_a_queue_gets_the_default_one(named, expected):
    job = rendered(run(queueName=named), settings=SETTINGS.model_copy(update={"default_queue": "shared"}))

    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == expected
    assert job["spec"]["suspend"]


@pytest.mark.parametrize(
    ("stage", "mode", "queued"), [("retrain", "execute", True), ("label", "execute", False), ("retrain", "report", False)]
)
def test_stages_without_gpus_may_stay_out_of_the_queue(stage, mode, queued):
    settings = SETTINGS.model_copy(update={"queue_cpu_stages": False, "default_queue": "shared"})

    job = rendered(run(queueName="team", resources={"retrain": GPU}), StageKind(stage), 1, mode, settings=settings)

    assert (job["spec"]["suspend"], "kueue.x-k8s.io/queue-name" in job["metadata"]["labels"]) == (queued, queued)


PASSED = {
    "labels": {"kueue.x-k8s.io/priority-class": "low", "kueue.x-k8s.io/queue-name": "another", "ser.dev/attempt": "9"},
    "annotations": {"kueue.x-k8s.io/podset-required-topology": "rack", "example.com/note": "x"},
}


def test_kueue_reads_priority_and_topology_on_the_jobs_of_the_run_that_has_them():
    gang, alone = (rendered(run(resources=GANG), StageKind(stage), 1, metadata=PASSED) for stage in ("retrain", "filter"))

    assert gang["spec"]["template"]["metadata"]["annotations"] == {"kueue.x-k8s.io/podset-required-topology": "rack"}
    assert "annotations" not in alone["spec"]["template"]["metadata"]
    for job in gang, alone:
        assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "low"
        assert (job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name"), job["metadata"]["labels"]["ser.dev/attempt"]) == (None, "1")


@pytest.mark.parametrize(
    ("named", "source"),
    [
        ({"secret": "ca"}, {"secret": {"secretName": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}], "defaultMode": 0o444}}),
        (
            {"configMap": "ca", "key": "root.pem"},
            {"configMap": {"name": "ca", "items": [{"key": "root.pem", "path": "ca.crt"}], "defaultMode": 0o444}},
        ),
    ],
    ids=["a Secret", "a ConfigMap"],
)
def test_the_authorities_of_the_store_are_mounted_and_the_stage_is_told_where(named, source):
    job = rendered(run(storage={"uri": "s3://bucket/runs", "caBundle": "/of/ser/run.pem", "caBundleFrom": named}))
    pod = job["spec"]["template"]["spec"]

    assert {"name": "storage-authorities", **source} in pod["volumes"]
    mount = {"name": "storage-authorities", "mountPath": "/etc/ser/storage-authorities", "readOnly": True}
    assert mount in pod["containers"][0]["volumeMounts"]
    sent = json.loads(environment(job)["SER_STAGE"])["spec"]["storage"]
    assert sent == {"uri": "s3://bucket/runs", "caBundle": "/etc/ser/storage-authorities/ca.crt"}
