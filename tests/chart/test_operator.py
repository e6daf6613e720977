"""The operator's Deployment: one pod, restricted, with exactly the settings of the values."""

import re
from datetime import UTC, datetime

import pytest
import yaml
from chart.rendering import CHART, DIGEST, MATRIX, ROOT, helm, hooks, objects, of_kind, the

from controlplane.faults.scenario import SPEC
from ser_core.api.serrun import SERRun
from ser_core.cli.views.why_view import explain
from ser_operator.settings import Settings, from_environment


def pod(values, **more):
    return the(objects(values, **more), "Deployment")["spec"]["template"]["spec"]


def environment(values, **more):
    entries = pod(values, **more)["containers"][0]["env"]
    assert len({entry["name"] for entry in entries}) == len(entries)
    return {entry["name"]: entry.get("value", "127.0.0.1") for entry in entries if entry["name"].startswith("SER_OPERATOR_")}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_one_operator_runs_and_never_two(values):
    spec = the(objects(values), "Deployment")["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_pod_is_restricted(values):
    """Pod Security Standards, level restricted, and a read-only root."""
    found = pod(values)
    (container,) = found["containers"]

    assert found["securityContext"]["runAsNonRoot"]
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}.items() <= container[
        "securityContext"
    ].items()
    assert not {"hostNetwork", "hostPID", "hostIPC"} & found.keys()
    assert {next(iter(volume.keys() - {"name"})) for volume in found["volumes"]} <= {"emptyDir", "secret"}
    assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_operator_takes_the_environment_that_the_chart_gives_it(values):
    settings = from_environment(environment(values))

    assert settings.namespaces == (() if values.get("clusterWide") else tuple(values.get("watchNamespaces", ("ser-system",))))


def test_keys_without_a_value_start_an_operator_with_its_defaults():
    empty = {"operatorClass": None, "allow": None, "imagePullSecrets": None}
    stages = {"securityContext": None, "defaults": None, "defaultQueue": None, "queueCpuStages": None}
    gpu = dict.fromkeys(("resource", "nodeSelector", "tolerations"))

    settings = from_environment(environment({**empty, "stages": {**stages, "gpu": gpu}}))

    assert settings.model_copy(update={"security_context": Settings(image="a").security_context}) == from_environment(environment({}))


def test_a_toleration_of_every_taint_may_have_an_empty_key():
    gpu = {"tolerations": [{"key": "", "operator": "Exists", "value": ""}]}

    (found,) = from_environment(environment({"stages": {"gpu": gpu}})).gpu_tolerations

    assert (found.key, found.operator) == (None, "Exists")


def test_every_setting_of_the_operator_is_set_by_the_chart():
    given = {name.removeprefix("SER_OPERATOR_").lower() for name in environment({})}

    assert given == set(Settings.model_fields)


def test_the_charts_defaults_are_the_operators():
    settings, plain = from_environment(environment({})), Settings(image="ser-jobs:0.2.0")

    assert settings.model_copy(update={"namespaces": (), "probe_host": plain.probe_host}) == plain


def test_no_service_in_the_namespace_becomes_a_setting():
    """A Service named ser-operator would set SER_OPERATOR_SERVICE_HOST, which the operator refuses."""
    assert pod({})["enableServiceLinks"] is False


def test_every_value_reaches_the_operator():
    settings = from_environment(environment(MATRIX["everything"]))

    assert settings.image == "registry.example/ser/jobs:1.2.3"
    assert settings.image_pull_secrets == ("pull",)
    assert (settings.allow.secrets, settings.allow.write) == (("ser-s3",), ("s3://ours/*", "s3://theirs/{namespace}/*"))
    assert (settings.allow.queues, settings.allow.gpus) == (("*",), 8)  # what is not said keeps its default
    assert (settings.stage_defaults.memory, settings.stage_defaults.work_size, settings.stage_defaults.scratch_size) == (
        "8Gi",
        "2Ti",
        "100Gi",
    )
    assert settings.gpu_resource == "amd.com/gpu"
    assert settings.resync_seconds == 10_000_000
    assert settings.gpu_node_selector == {"gpu": "h100"}
    assert [one.key for one in settings.gpu_tolerations] == ["nvidia.com/gpu"]
    assert settings.default_queue == "team"
    assert settings.operator_class == "blue"
    assert settings.queue_cpu_stages is False


@pytest.mark.parametrize("version", ["helm", "helm4"])
def test_the_earlier_names_of_lists_are_taken_and_win(version):
    values = {
        "allow": {"secrets": ["new"]},
        "settings": {"allowedSecrets": ["old"], "allowedStorage": [], "allowedEndpoints": ["https://s3"]},
    }

    allow = from_environment(environment(values, version=version)).allow

    assert (allow.secrets, allow.write, allow.endpoints, allow.read) == (("old",), (), ("https://s3",), ("hf://*", "{storage}/*"))


def test_a_digest_wins_over_a_tag():
    image = {"repository": "registry.example/ser", "tag": "1", "digest": DIGEST}

    found = pod({"image": image, "stages": {"image": image}})["containers"][0]

    assert found["image"] == f"registry.example/ser@{DIGEST}"
    assert {"name": "SER_OPERATOR_IMAGE", "value": found["image"]} in found["env"]


def test_where_the_operator_runs_can_be_said():
    found = the(objects(MATRIX["everything"]), "Deployment")["spec"]["template"]

    assert found["spec"]["nodeSelector"] == {"pool": "system"}
    assert found["spec"]["tolerations"] == [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}]
    assert found["spec"]["affinity"] == {"nodeAffinity": {}}
    assert found["spec"]["priorityClassName"] == "high"
    assert found["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert found["metadata"]["annotations"] == {"note": "1"}
    assert found["metadata"]["labels"]["team"] == "ml"
    assert found["spec"]["topologySpreadConstraints"] == MATRIX["everything"]["topologySpreadConstraints"]


def test_what_is_extra_reaches_the_operators_container():
    found, extra = pod(MATRIX["everything"]), MATRIX["everything"]
    (container,) = found["containers"]

    assert container["env"][-1:] == extra["extraEnv"]
    assert container["volumeMounts"][1:] == extra["extraVolumeMounts"]
    assert found["volumes"][1:] == extra["extraVolumes"]


def test_probes_keep_what_is_not_said_of_them():
    (container,) = pod(MATRIX["everything"])["containers"]

    assert container["livenessProbe"] == {
        "httpGet": {"path": "/livez", "port": "metrics"},
        "initialDelaySeconds": 30,
        "periodSeconds": 20,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    }
    assert container["readinessProbe"]["periodSeconds"] == 5


def test_common_labels_are_on_everything_and_select_nothing():
    for one in [*objects(MATRIX["everything"]), *hooks(MATRIX["everything"])]:
        assert one["metadata"]["labels"]["cost-centre"] == "7"
    deployment = the(objects(MATRIX["everything"]), "Deployment")["spec"]

    assert deployment["template"]["metadata"]["labels"]["cost-centre"] == "7"
    assert "cost-centre" not in deployment["selector"]["matchLabels"]


@pytest.mark.parametrize("labels", ["podLabels", "commonLabels"])
def test_labels_of_the_pod_cannot_unselect_it(labels):
    found = objects({labels: {"app.kubernetes.io/name": "other"}})

    assert the(found, "Deployment")["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == "ser-operator"


def test_the_command_that_ser_why_names_finds_the_operators_pod():
    run = SERRun.model_validate({"metadata": {"name": "hh", "namespace": "lab", "generation": 1}, "spec": SPEC})
    fix = explain(run, (), datetime.now(UTC), "hh", on_cluster=True).fix
    key, value = re.findall(r"kubectl get pods -A -l ([\w./-]+)=([\w-]+)", fix)[0]

    labels = the(objects(MATRIX["everything"]), "Deployment")["spec"]["template"]["metadata"]["labels"]

    assert labels[key] == value


def test_the_crds_are_the_generated_ones_and_are_kept():
    generated = [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.ser.dev.yaml"))]

    crds = of_kind(objects({}), "CustomResourceDefinition")

    assert [one["spec"] for one in crds] == [one["spec"] for one in generated]
    assert [one["metadata"]["name"] for one in crds] == ["serruns.ser.dev", "serruntemplates.ser.dev"]
    assert all(one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for one in crds)
    for one in of_kind(objects(MATRIX["everything"]), "CustomResourceDefinition"):
        assert "helm.sh/resource-policy" not in one["metadata"].get("annotations", {})
    assert of_kind(objects({"crds": {"enabled": False}}), "CustomResourceDefinition") == []
    assert not (CHART / "crds").exists()  # Helm would install it once and never again


@pytest.mark.parametrize(
    ("release", "override", "name"),
    [("ser-operator", "", "ser-operator"), ("lab", "", "lab-ser-operator"), ("lab", "mine", "mine"), ("x" * 53, "", "x" * 50)],
)
def test_names_follow_the_release(release, override, name):
    ended = helm("template", release, str(CHART), values={"fullnameOverride": override})

    found = [one for one in yaml.safe_load_all(ended.stdout) if one]
    assert the(found, "Deployment")["metadata"]["name"] == name
