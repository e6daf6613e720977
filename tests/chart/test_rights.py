"""What the chart lets the operator, the stages and people do."""

import pytest
import yaml
from chart.rendering import MATRIX, ROOT, objects, of_kind, the

SHIPPED = next(part for part in yaml.safe_load_all((ROOT / "operator" / "rbac.yaml").read_text()) if part["kind"] == "Role")


def roles_of_the_operator(found):
    return [one for one in found if one["kind"] in ("Role", "ClusterRole") and "ser.dev" in str(one) and "batch" in str(one["rules"])]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_operators_rights_are_those_of_the_tested_role(values):
    roles = roles_of_the_operator(objects(values))

    assert all(role["rules"] == SHIPPED["rules"] for role in roles)
    assert bool(roles) == values.get("rbac", {}).get("create", True)


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_no_rule_has_a_wildcard_or_touches_secrets(values):
    rules = [rule for role in objects(values) if role["kind"] in ("Role", "ClusterRole") for rule in role["rules"]]

    assert not any("*" in rule["verbs"] + rule["resources"] + rule["apiGroups"] for rule in rules)
    assert not any(word in resource for rule in rules for resource in rule["resources"] for word in ("secret", "exec", "role", "token"))


def test_a_namespaced_operator_has_no_rights_elsewhere():
    found = objects({"watchNamespaces": ["team-a", "team-b"]})

    for kind in ("Role", "RoleBinding"):
        assert [one["metadata"]["namespace"] for one in of_kind(found, kind)] == ["team-a", "team-b"]
    assert of_kind(found, "ClusterRoleBinding") == []


def test_a_cluster_wide_operator_needs_one_binding():
    found = objects({"clusterWide": True})

    assert of_kind(found, "Role") == []
    assert the(found, "ClusterRoleBinding")["roleRef"]["name"] == roles_of_the_operator(found)[0]["metadata"]["name"]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_bindings_name_the_operators_account(values):
    found = objects(values)
    account = the(found, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]

    bindings = [one for one in found if one["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    assert all(one["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "ser-system"}] for one in bindings)
    assert {one["roleRef"]["name"] for one in bindings} <= {one["metadata"]["name"] for one in roles_of_the_operator(found)}


def test_stages_have_an_account_without_token_and_rights_in_each_namespace():
    values = {"watchNamespaces": ["team-a", "team-b"], "stages": {"serviceAccount": {"annotations": {"example.com/role": "s3"}}}}

    found = objects(values)

    stages = [one for one in of_kind(found, "ServiceAccount") if one["metadata"]["name"] == "ser-stage"]
    assert [one["metadata"]["namespace"] for one in stages] == ["team-a", "team-b"]
    assert all(one["automountServiceAccountToken"] is False for one in stages)
    assert all(one["metadata"]["annotations"] == {"example.com/role": "s3"} for one in stages)
    assert "ser-stage" not in str([one for one in found if one["kind"].endswith("Binding")])


def test_people_with_view_see_runs_and_people_with_edit_change_them():
    found = of_kind(objects({}), "ClusterRole")
    verbs = {}
    for one in found:
        for label in one["metadata"]["labels"]:
            if label.startswith("rbac.authorization.k8s.io/aggregate-to-"):
                verbs.setdefault(label.rsplit("-", 1)[1], set()).update(verb for rule in one["rules"] for verb in rule["verbs"])

    assert verbs["view"] == {"get", "list", "watch"}
    assert verbs["edit"] == verbs["admin"] == verbs["view"] | {"create", "update", "patch", "delete", "deletecollection"}
    assert of_kind(objects({"rbac": {"aggregate": False}}), "ClusterRole") == []
