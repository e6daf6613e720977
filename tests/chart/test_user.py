"""Who the operator and the stages are: a fixed user by default, and whom the platform chooses where it must."""

import pytest
from chart.rendering import MATRIX, hooks, objects, the

from ser_operator.settings import PodUser, from_environment

RESTRICTED = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
BY_THE_PLATFORM = {
    "each null": MATRIX["users chosen by the platform"],
    "all null": {"podSecurityContext": None, "stages": {"securityContext": None}},
}


def pods(values, **more):
    """The operator's pod and that of `helm test`."""
    return the(objects(values, **more), "Deployment")["spec"]["template"]["spec"], the(hooks(values, **more), "Pod")["spec"]


def stages(values, **more):
    """What the operator is told of the stages' user."""
    (container,) = pods(values, **more)[0]["containers"]
    return from_environment({one["name"]: one.get("value", "") for one in container["env"]}).security_context


def test_by_default_all_are_the_images_user():
    for pod in pods({}):
        assert pod["securityContext"] == {**RESTRICTED, "runAsUser": 65532, "runAsGroup": 65532}
    assert stages({}) == PodUser(run_as_user=65532, run_as_group=65532, fs_group=65532)


@pytest.mark.parametrize("version", ["helm", "helm4"])
@pytest.mark.parametrize("values", BY_THE_PLATFORM.values(), ids=BY_THE_PLATFORM)
def test_a_platform_can_choose(values, version):
    """Then no user and no group is named, and everything else that the level restricted asks for stays."""
    for pod in pods(values, version=version):
        assert pod["securityContext"] == RESTRICTED
        assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert stages(values, version=version) == PodUser()


def test_one_of_them_can_be_another():
    pod, _ = pods({"podSecurityContext": {"runAsUser": 1000}})

    assert pod["securityContext"] == {**RESTRICTED, "runAsUser": 1000, "runAsGroup": 65532}
    assert stages({"stages": {"securityContext": {"fsGroup": 1000}}}) == PodUser(run_as_user=65532, run_as_group=65532, fs_group=1000)
