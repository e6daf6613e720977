"""The pod of `helm test`: as restricted as the operator, with one right, and not cut off by the NetworkPolicies."""

import pytest
from chart.rendering import MATRIX, hooks, objects, of_kind, the
from chart.test_network import API_SERVERS, allows

from ser_operator import installed


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_it_asks_the_operators_image_about_this_release(values):
    pod, operator = the(hooks(values), "Pod")["spec"], the(objects(values), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert container["image"] == operator["containers"][0]["image"]
    assert container["command"] == ["python", "-m", installed.__name__, "ser-system", "ser-operator"]
    for name in ("securityContext", "tolerations", "nodeSelector", "imagePullSecrets"):
        assert pod.get(name) == operator.get(name)
    assert container["securityContext"] == operator["containers"][0]["securityContext"]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_it_may_look_at_pods_and_nothing_else(values):
    found = hooks(values)

    assert the(found, "Role")["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    account = the(found, "ServiceAccount")["metadata"]["name"]
    assert the(found, "RoleBinding")["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "ser-system"}]
    assert the(found, "Pod")["spec"]["serviceAccountName"] == account
    assert of_kind(found, "ClusterRole") == []


def test_its_rights_go_when_it_has_passed_and_its_pod_stays_for_its_log():
    policies = {one["kind"]: one["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for one in hooks({})}

    assert policies.pop("Pod") == "before-hook-creation"
    assert set(policies.values()) == {"before-hook-creation,hook-succeeded"}


def test_the_network_policies_let_it_ask_the_api_server():
    pod = the(hooks({}), "Pod")["metadata"]
    everything = [*objects({}), *hooks({})]

    assert all(allows(everything, "Egress", (pod["namespace"], pod["labels"]), address, 443) for address in API_SERVERS)
    assert not allows(everything, "Egress", (pod["namespace"], pod["labels"]), API_SERVERS[0], 9000)


def test_nothing_takes_it_for_the_operator():
    labels = the(hooks({}), "Pod")["metadata"]["labels"]

    assert not the(objects({}), "Deployment")["spec"]["selector"]["matchLabels"].items() <= labels.items()
