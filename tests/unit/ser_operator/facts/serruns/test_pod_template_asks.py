"""What a podTemplate may hold: nothing until a list opens it, and some things never."""

from typing import get_origin

import pytest
from pydantic import ValidationError

from ser_core.api.guarded import AllowList
from ser_core.api.serrun import SERRun
from ser_core.api.spec.pod_template import PodTemplate
from ser_core.api.status import SERRunStatus, StageKind, StageStatus
from ser_operator.allow import Allow, AllowPodTemplate
from ser_operator.facts.serruns.allow_lists import _judged_with_defaults, judged, refusal
from ser_operator.settings import Settings

SECRET = {"secretKeyRef": {"name": "team", "key": "token"}}
ALL = dict.fromkeys(AllowPodTemplate.model_fields, ("*",))
KEYS = {
    "labels": ({"team": "ml"}, "labels", "team"),
    "annotations": ({"sidecar.istio.io/inject": "false"}, "annotations", "sidecar.istio.io/inject"),
    "env": ([{"name": "HTTPS_PROXY", "value": "http://proxy"}], "env", "HTTPS_PROXY"),
    "envFrom": ([{"configMapRef": {"name": "nccl"}}], "envFrom", "configMap/nccl"),
    "volumes": ([{"name": "cache", "persistentVolumeClaim": {"claimName": "models"}}], "volumes", "persistentVolumeClaim/models"),
    "serviceAccountName": ("cloud", "serviceAccounts", "cloud"),
    "imagePullSecrets": ([{"name": "ser-pull"}], "imagePullSecrets", "ser-pull"),
    "runtimeClassName": ("gvisor", "runtimeClasses", "gvisor"),
    "schedulerName": ("volcano", "schedulers", "volcano"),
    "affinity": ({"podAntiAffinity": {}}, "affinity", "podAntiAffinity"),
    "topologySpreadConstraints": ([{"topologyKey": "zone", "maxSkew": 1}], "topologyKeys", "zone"),
    "resourceClaims": ([{"name": "gpu", "resourceClaimTemplateName": "mig"}], "resourceClaims", "mig"),
    "resources": ({"rdma/hca": "1"}, "resources", "rdma/hca"),
    "sidecars": ([{"name": "proxy", "image": "registry.example/proxy:1"}], "sidecars", "registry.example/proxy:1"),
}
"""By key: what it may hold, the list that opens it, and what the list is asked."""


def told(template, stage=False, gpu="nvidia.com/gpu", **allow):
    """Why a run with such a template is refused."""
    spec = {"rewardModel": {"base": "hf://org/model"}, "data": {"source": {"uri": "hf://org/data"}}, "storage": {"uri": "s3://bucket/runs"}}
    spec |= {"resources": {"retrain": {"podTemplate": template}}} if stage else {"podTemplate": template}
    run = SERRun.model_validate({"metadata": {"name": "hh", "namespace": "team-a"}, "spec": spec})
    settings = Settings(image="any", gpu_resource=gpu, allow=Allow(pod_template=AllowPodTemplate(**allow.pop("pod_template", {})), **allow))
    return refusal({}, run, settings, judged({}, run))


def test_every_key_is_tried_here():
    assert set(KEYS) == {field.alias for field in PodTemplate.model_fields.values()} - {"volumeMounts"}  # it names a volume
    assert {f"podTemplate.{by}" for _, by, _ in KEYS.values()} == {one.value for one in AllowList if one.value.startswith("podTemplate.")}


@pytest.mark.parametrize("stage", [False, True], ids=["run", "stage"])
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_closed_until_its_list_opens_it_for_that_value(key, stage):
    value, by, asked = KEYS[key]
    others = {name: patterns for name, patterns in ALL.items() if name != AllowPodTemplate.model_fields[name].alias != by}
    closed = {name: patterns for name, patterns in others.items() if AllowPodTemplate.model_fields[name].alias != by}

    assert f"'{asked}' is not allowed (allow.podTemplate.{by}: none)" in told({key: value}, stage, pod_template=closed)
    opened = {name: (asked,) for name, field in AllowPodTemplate.model_fields.items() if field.alias == by}
    assert told({key: value}, stage, pod_template={**closed, **opened}) == ""


SECRETS = {
    "a variable": {"env": [{"name": "A", "valueFrom": SECRET}]},
    "variables": {"envFrom": [{"secretRef": {"name": "team"}}]},
    "a volume": {"volumes": [{"name": "a", "secret": {"secretName": "team"}}]},
    "a pull Secret": {"imagePullSecrets": [{"name": "team"}]},
    "a sidecar's variable": {"sidecars": [{"name": "a", "image": "b", "env": [{"name": "A", "valueFrom": SECRET}]}]},
    "a sidecar's variables": {"sidecars": [{"name": "a", "image": "b", "envFrom": [{"secretRef": {"name": "team"}}]}]},
}


@pytest.mark.parametrize("template", SECRETS.values(), ids=SECRETS)
def test_the_list_of_secrets_holds_here_too(template):
    assert "'team' is not allowed (allow.secrets: ser-*)" in told(template, pod_template=ALL)
    assert told(template, pod_template=ALL, secrets=("team",)) == ""


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ({"key": "pool", "operator": "In", "values": ["a"]}, True),
        ({"key": "pool", "operator": "In", "values": ["a", "b"]}, False),
        ({"key": "pool", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}, False),
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_the_list_of_nodes_holds_in_affinities_too(expression, allowed, required):
    said = told(near_nodes(expression, required), pod_template=ALL, node_selectors=("pool=a",))

    assert ("allow.nodeSelectors" in said) is not allowed


@pytest.mark.parametrize(("pattern", "allowed"), [("!pool=admin", False), ("!p*=admin", False), ("!*admin", False), ("!zone=a", True)])
def test_a_label_that_is_only_compared_reaches_the_forbidden_values(pattern, allowed):
    said = told(near_nodes({"key": "pool", "operator": "NotIn", "values": ["a"]}), pod_template=ALL, node_selectors=("*", pattern))

    assert ("allow.nodeSelectors" in said) is not allowed


def near_nodes(expression, required=True):
    """A podTemplate that chooses nodes by ``expression``."""
    term = {"matchExpressions": [expression]}
    if required:
        return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}
    return {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]}}}


NEVER = {
    "a folder of the node": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]},
    "a token": {"volumes": [{"name": "a", "projected": {"sources": [{"serviceAccountToken": {}}]}}]},
    "two volumes in one": {"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]},
    "a volume of nothing": {"volumes": [{"name": "a"}]},
    "the data of another claim": {
        "volumes": [{"name": "a", "ephemeral": {"volumeClaimTemplate": {"spec": {"dataSource": {"name": "b"}}}}}]
    },
    "the disk of another": {"volumes": [{"name": "a", "ephemeral": {"volumeClaimTemplate": {"spec": {"volumeName": "b"}}}}]},
    "the operator's volume": {"volumes": [{"name": "work", "emptyDir": {}}]},
    "the operator's keys": {"volumeMounts": [{"name": "storage-credentials", "mountPath": "/keys"}]},
    "the operator's folder": {"volumeMounts": [{"name": "a", "mountPath": "/etc/ser/storage-credentials"}]},
    "a folder around it": {"volumeMounts": [{"name": "a", "mountPath": "//etc/./"}]},
    "everything": {"volumeMounts": [{"name": "a", "mountPath": "/"}]},
    "a way out of a folder": {"volumeMounts": [{"name": "a", "mountPath": "/data/../work"}]},
    "programs": {"volumeMounts": [{"name": "a", "mountPath": "/opt/ser/lib/python3.12/site-packages"}]},
    "all programs": {"volumeMounts": [{"name": "a", "mountPath": "/usr"}]},
    "the driver's libraries": {"volumeMounts": [{"name": "a", "mountPath": "/usr/local/nvidia/lib64"}]},
    "a library for every program": {"volumeMounts": [{"name": "a", "mountPath": "/etc/ld.so.preload", "subPath": "a"}]},
    "a mount that passes others on": {"volumeMounts": [{"name": "a", "mountPath": "/a", "mountPropagation": "Bidirectional"}]},
    "another hub": {"env": [{"name": "HF_ENDPOINT", "value": "https://evil.com"}]},
    "another store": {"env": [{"name": "AWS_ENDPOINT_URL_S3", "value": "https://evil.com"}]},
    "another store by a file": {"env": [{"name": "AWS_CONFIG_FILE", "value": "/a"}]},
    "another store by a prefix": {"envFrom": [{"configMapRef": {"name": "a"}, "prefix": "AWS_ENDPOINT_"}]},
    "all GPUs of a node": {"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]},
    "the stage's own variable": {"env": [{"name": "SER_HUB_CREDENTIALS", "value": "/a"}]},
    "a variable of another kind": {"env": [{"name": "A", "valueFrom": {"fileKeyRef": {}}}]},
    "GPUs beside the cap": {"resources": {"nvidia.com/gpu": "64"}},
    "memory": {"resources": {"memory": "1Ti"}},
    "a stronger sidecar": {"sidecars": [{"name": "a", "image": "b", "securityContext": {"privileged": True}}]},
    "a sidecar with GPUs": {"sidecars": [{"name": "a", "image": "b", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
    "a sidecar with the keys": {
        "sidecars": [{"name": "a", "image": "b", "volumeMounts": [{"name": "hub-credentials", "mountPath": "/a"}]}]
    },
    "another stage": {"sidecars": [{"name": "stage", "image": "b"}]},
    "a sidecar that ends by itself": {"sidecars": [{"name": "a", "image": "b", "restartPolicy": "Never"}]},
    "the label that lets prepare out": {"labels": {"ser.dev/stage": "prepare"}},
    "a queue": {"labels": {"kueue.x-k8s.io/queue-name": "theirs"}},
    "an unconfined process": {"annotations": {"container.apparmor.security.beta.kubernetes.io/stage": "unconfined"}},
}


@pytest.mark.parametrize("template", NEVER.values(), ids=NEVER)
def test_some_things_no_list_opens(template):
    assert "is not allowed: " in told(template, pod_template=ALL, secrets=("*",))


LISTS = [field.alias for field in PodTemplate.model_fields.values() if get_origin(field.annotation) is tuple]
ALLOWED = {
    "an empty claim": {"volumes": [{"name": "a", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}}]},
    "another library": {"volumeMounts": [{"name": "a", "mountPath": "/opt/nccl"}]},
    "authorities": {"volumeMounts": [{"name": "a", "mountPath": "/etc/ssl/certs"}]},
    "variables of a kind": {"envFrom": [{"configMapRef": {"name": "a"}, "prefix": "NCCL_"}]},
}


@pytest.mark.parametrize("template", ALLOWED.values(), ids=ALLOWED)
def test_what_is_beside_them_the_lists_open(template):
    assert told(template, pod_template=ALL) == ""


ODD = [{}, {"name": 7}, {"name": None}, {"valueFrom": 7}, {"secret": []}, {"env": 7}, {"env": [7]}, {"resources": 7}, {"configMapRef": "x"}]


@pytest.mark.parametrize("key", LISTS)
def test_no_inside_of_a_list_breaks_the_look_at_it(key):
    for odd in ODD:
        assert "is not allowed" in told({key: [odd]}) or key == "volumeMounts"


def nested(levels):
    value = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("template", [{"affinity": nested(5000)}, {"env": [nested(5000)]}, {"sidecars": [{"a": [nested(32)]}]}])
def test_an_inside_that_no_program_could_walk_through_is_refused(template):
    with pytest.raises(ValidationError, match="nested more than 32 levels deep"):
        told(template)
    assert told({"affinity": nested(32)})


def test_a_change_of_what_no_list_judges_is_seen_as_one():
    """Else a run that has begun could mount a volume over the operator's folders."""
    spec = {"rewardModel": {"base": "hf://org/model"}, "data": {"source": {"uri": "hf://org/data"}}, "storage": {"uri": "s3://bucket/runs"}}
    mounts = ({"volumeMounts": [{"name": "a", "mountPath": path}]} for path in ("/data", "/work"))
    before, after = (SERRun.model_validate({"metadata": {"name": "hh"}, "spec": {**spec, "podTemplate": one}}) for one in mounts)

    assert judged({}, before) != judged({}, after)


class LaterPodTemplate(PodTemplate):
    """As a later version has it."""

    host_network: bool = False


def begun(template, judged_by):
    """A run with a template, whose lists were tightened since it began."""
    spec = {"rewardModel": {"base": "hf://org/model"}, "data": {"source": {"uri": "hf://org/data"}}, "storage": {"uri": "s3://bucket/runs"}}
    run = SERRun.model_validate({"metadata": {"name": "hh", "namespace": "team-a"}, "spec": spec})
    run = run.model_copy(update={"spec": run.spec.model_copy(update={"pod_template": template})})
    stages = (StageStatus(iteration=0, stage=StageKind.PREPARE, attempt=1),)
    return run.model_copy(update={"status": SERRunStatus(stages=stages, judged=judged_by(run))})


@pytest.mark.parametrize("judged_by", [lambda run: judged({}, run), lambda run: _judged_with_defaults({}, run)], ids=["now", "before"])
def test_a_begun_run_goes_on_whatever_its_lists_have_become(judged_by):
    run = begun(PodTemplate(labels={"team": "ml"}), judged_by)
    assert refusal({}, run, Settings(image="any"), judged({}, run)) == ""


def test_a_version_that_knows_one_more_field_finds_the_same_digest():
    runs = [begun(one(labels={"team": "ml"}), lambda _: "") for one in (PodTemplate, LaterPodTemplate)]
    assert len({judged({}, run) for run in runs}) == 1
