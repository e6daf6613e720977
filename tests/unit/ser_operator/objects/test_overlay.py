"""A podTemplate over the operator's pod: what is added is there, what the operator has set stays, and the pod stays restricted."""

import contextlib
import copy
import json

import pytest
from pydantic import ValidationError
from unit.ser_operator.facts.serruns.test_pod_template_asks import ALL, told
from unit.ser_operator.objects.test_render import GPU, rendered, run
from unit.ser_operator.objects.test_render import POD_TEMPLATE as WHOLE

from ser_core.api.spec.pod_template import PodTemplate
from ser_core.api.status import StageKind
from ser_operator.objects.overlay import unrestricted
from ser_operator.settings import Settings, StageDefaults


def job(**more):
    spec = {"podTemplate": WHOLE, "resources": {"retrain": GPU}, **more}
    return rendered(run(**spec), StageKind.RETRAIN, 1, avoid_nodes=("gpu-1",))["spec"]["template"]


def test_all_that_is_added_is_there_and_what_the_operator_has_set_stays():
    template, bare = job(), job(podTemplate=None)
    pod, own = template["spec"], bare["spec"]
    (container,), (before,) = pod["containers"], own["containers"]

    assert template["metadata"] == {
        "annotations": WHOLE["annotations"],
        "labels": {"team": "ml", **bare["metadata"]["labels"]},
    }
    assert container["env"] == [WHOLE["env"][0], *before["env"]]
    assert container["envFrom"] == WHOLE["envFrom"]
    assert container["volumeMounts"] == [*before["volumeMounts"], *WHOLE["volumeMounts"]]
    assert container["resources"] == {
        "requests": {"rdma/hca": "1", **before["resources"]["requests"]},
        "limits": {"rdma/hca": "1", **before["resources"]["limits"]},
        "claims": [{"name": "device"}],
    }
    assert pod["volumes"] == [*own["volumes"], WHOLE["volumes"][0], {"name": "more", "emptyDir": {"sizeLimit": "100Gi"}}]
    assert pod["imagePullSecrets"] == [{"name": "pull"}, {"name": "ser-pull"}]
    for key in ("serviceAccountName", "runtimeClassName", "schedulerName", "topologySpreadConstraints", "resourceClaims"):
        assert pod[key] == WHOLE[key]
    near = "preferredDuringSchedulingIgnoredDuringExecution"
    assert pod["affinity"]["nodeAffinity"][near] == [*WHOLE["affinity"]["nodeAffinity"][near], *own["affinity"]["nodeAffinity"][near]]
    assert pod["automountServiceAccountToken"] is False
    kept = ("image", "command", "securityContext", "terminationMessagePath", "name")
    assert {key: container[key] for key in kept} == {key: before[key] for key in kept}


def test_a_sidecar_starts_before_the_stage_and_may_no_more_than_it():
    pod = job()["spec"]

    (sidecar,) = pod["initContainers"]
    assert sidecar == {**WHOLE["sidecars"][0], "restartPolicy": "Always", "securityContext": pod["containers"][0]["securityContext"]}
    assert list(unrestricted(pod)) == []


def test_a_sidecar_has_the_bounds_that_the_administrator_gives_where_it_names_none():
    settings = Settings(image="x", stage_defaults=StageDefaults(memory="1Gi", ephemeral_storage="2Gi"))
    sidecars = [{"name": "a", "image": "b"}, {"name": "c", "image": "b", "resources": {"limits": {"memory": "3Gi"}}}]
    template = rendered(run(podTemplate={"sidecars": sidecars}), settings=settings)["spec"]["template"]

    limits = [one["resources"]["limits"] for one in template["spec"]["initContainers"]]
    assert limits == [{"memory": "1Gi", "ephemeral-storage": "2Gi"}, {"memory": "3Gi", "ephemeral-storage": "2Gi"}]


def test_a_folder_without_an_end_gets_one():
    folder = {"name": "more", "emptyDir": {"medium": "Memory", "sizeLimit": None}}
    template = rendered(run(podTemplate={"volumes": [folder]}))["spec"]["template"]

    assert template["spec"]["volumes"][-1]["emptyDir"] == {"medium": "Memory", "sizeLimit": "100Gi"}


def test_a_stages_own_template_goes_over_that_of_the_run():
    stage = {"env": [{"name": "HTTPS_PROXY", "value": "http://another"}], "labels": {"team": "gpu"}, "schedulerName": "another"}
    template = job(resources={"retrain": {**GPU, "podTemplate": stage}})

    proxies = [one["value"] for one in template["spec"]["containers"][0]["env"] if one["name"] == "HTTPS_PROXY"]
    assert (proxies, template["metadata"]["labels"]["team"], template["spec"]["schedulerName"]) == (["http://another"], "gpu", "another")
    assert template["spec"]["serviceAccountName"] == "cloud"


def test_a_mount_goes_over_that_of_the_same_place():
    below, above = (PodTemplate(volume_mounts=({"name": name, "mountPath": "/data"},)) for name in ("a", "b"))

    assert above.over(below).volume_mounts == ({"name": "b", "mountPath": "/data"},)


def test_a_run_without_a_template_has_the_pod_that_it_had():
    assert job(podTemplate={}) == job(podTemplate=None)


def changed_at(whole, path, value):
    *parts, last = path
    place = whole
    for part in parts:
        place = place[part]
    place[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(((name,), True) for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")),
        (("securityContext", "runAsNonRoot"), False),
        (("securityContext", "runAsUser"), 0),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}),
        (("volumes", 0), {"name": "a", "hostPath": {"path": "/"}}),
        (("containers", 0, "ports"), [{"hostPort": 1}]),
        *(
            ((kind, 0, "securityContext"), {**job()["spec"]["containers"][0]["securityContext"], **field})
            for kind in ("containers", "initContainers")
            for field in (
                {"privileged": True},
                {"allowPrivilegeEscalation": True},
                {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}},
                {"readOnlyRootFilesystem": False},
                {"runAsUser": 0},
                {"procMount": "Unmasked"},
            )
        ),
        (("initContainers", 0, "securityContext"), None),
    ],
)
def test_what_leaves_the_level_restricted_is_found_in_the_rendered_pod(path, value):
    assert list(unrestricted(changed_at(copy.deepcopy(job()["spec"]), path, value)))


ODD = [None, 7, "x", "", [], {}, [7], {"a": 7}, [{}], {"name": None}]
RICH = {
    **{key: value for key, value in WHOLE.items() if key != "labels"},
    "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "ser-a", "key": "k"}}}],
    "volumes": [{"name": "more", "emptyDir": {}}, {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["x"]}}}}],
    "sidecars": [
        {
            "name": "proxy",
            "image": "x",
            "env": [{"name": "A", "value": "b"}],
            "envFrom": [{"secretRef": {"name": "ser-a"}, "prefix": "A_"}],
            "resources": {"limits": {"memory": "1Gi"}},
            "volumeMounts": [{"name": "more", "mountPath": "/x"}],
        }
    ],
}


def places(value, path=()):
    """Every path in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


@pytest.mark.parametrize("path", [path for path in places(RICH) if path], ids=str)
def test_whatever_stands_in_a_template_it_is_refused_or_rendered(path):
    """The API server refuses the Job then; an operator that raises would say nothing."""
    for odd in ODD:
        template = changed_at(copy.deepcopy(RICH), path, odd)
        with contextlib.suppress(ValidationError):
            refused = told(template, pod_template=ALL, secrets=("*",), node_selectors=("*", "!pool=admin"))
            assert refused or json.dumps(rendered(run(podTemplate=template)))


def test_a_waiting_job_follows_a_change_of_the_template():
    before, after = (
        rendered(run(podTemplate=one), settings=Settings(image="x"))["metadata"]["annotations"]["ser.dev/asked-for"]
        for one in (None, WHOLE)
    )

    assert before != after
