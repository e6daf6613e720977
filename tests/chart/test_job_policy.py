"""The chart's policy on the operator's Jobs, as it is rendered; tests/e2e/admission/test_job_policy.py tries it."""

import re

import pytest
from chart.rendering import objects, of_kind, the
from pydantic.alias_generators import to_snake

from ser_operator.allow import Allow

POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"


NAMESPACE = ".replace('{namespace}', request.namespace)"
JOBS, SERVICES = "ser-operator.ser-system", "ser-operator.ser-system.services"


def expression(values, name):
    """The regular expression of a list, for the namespace `lab`."""
    return expressions(values)[name]


def expressions(values):
    """Those of all lists."""
    variables = the(objects(values), POLICY, JOBS)["spec"]["variables"]
    return {one["name"]: as_read(one["expression"]) for one in variables if NAMESPACE in one["expression"]}


def as_read(written):
    text, _ = written.split(NAMESPACE)
    return text.strip('"').replace("\\\\", "\\").replace("{namespace}", "lab")


def test_it_can_be_turned_off_and_is_on_by_default():
    assert of_kind(objects({"rbac": {"jobPolicy": False}}), POLICY) == []
    found = objects({})
    for name in (JOBS, SERVICES):
        assert the(found, BINDING, name)["spec"]["policyName"] == the(found, POLICY, name)["metadata"]["name"]


@pytest.mark.parametrize(
    ("pattern", "matched", "other"),
    [
        ("ser-*", "ser-s3", "my-ser-s3"),
        ("*", "anything", None),
        ("a.b", "a.b", "axb"),
        ("a?b", "axb", "axxb"),
        ("ser-[ab]", "ser-a", "ser-c"),
        ("ser-[!ab]", "ser-c", "ser-a"),
        ("{namespace}-*", "lab-s3", "other-s3"),
        ("ser-{namespace}", "ser-lab", "ser-lab2"),
    ],
)
def test_patterns_mean_what_they_mean_to_the_operator(pattern, matched, other):
    found = expression({"allow": {"secrets": [pattern]}}, "secretsAllowed")
    assert re.search(found, matched)
    assert other is None or not re.search(found, other)


def test_forbidden_names_stand_apart_in_any_case_and_an_empty_list_matches_none():
    values = {"allow": {"secrets": ["*", "!ser-admin"]}}
    assert re.search(expression(values, "secretsForbidden"), "ser-Admin")
    assert not re.search(expression(values, "secretsForbidden"), "ser-s3")
    assert not re.search(expression({"allow": {"secrets": []}}, "secretsAllowed"), "ser-s3")


@pytest.mark.parametrize(
    ("pattern", "reaches"),
    [("!pool=admin", "pool"), ("!p*=admin", "pool"), ("!*admin", "pool"), ("!pool=admin", None), ("pool=admin", None)],
)
def test_a_label_that_a_job_only_compares_reaches_the_forbidden_values(pattern, reaches):
    found = expression({"allow": {"nodeSelectors": ["*", pattern]}}, "nodeKeysForbidden")
    assert reaches is None or re.search(found, reaches)
    assert not re.search(found, "zone") or pattern == "!*admin"


def test_a_list_that_is_left_out_is_the_operators_own():
    own, template = Allow(), Allow().pod_template
    rest = {name: getattr(own, to_snake(name)) for name in ("secrets", "priorityClasses", "tolerations", "nodeSelectors")}
    inner = ("labels", "annotations", "volumes", "runtimeClasses", "schedulers", "affinity", "topologyKeys", "resourceClaims", "resources")
    closed = {name: getattr(template, to_snake(name)) for name in inner}
    more = {"serviceAccounts": ("ser-stage", *template.service_accounts), "queues": ("default", *own.queues)}
    found = expressions({"allow": None})
    for name, patterns in {**rest, **closed, **more}.items():
        expected = expressions({"allow": {"secrets": list(patterns)}})
        for half in ("Allowed", "Forbidden"):
            assert found[name + half] == expected[f"secrets{half}"]


@pytest.mark.parametrize(("allow", "told"), [(None, "16 pods and 64 GPUs"), ({"nodes": 2, "gpus": 0}, "2 pods and 0 GPUs")])
def test_the_caps_are_the_operators(allow, told):
    assert told in str(the(objects({"allow": allow}), POLICY, JOBS)["spec"]["validations"])
    assert (Allow().nodes, Allow().gpus) == (16, 64)


def test_the_earlier_name_of_the_list_and_what_the_chart_itself_gives_stages_count():
    values = {
        "settings": {"allowedSecrets": ["old-*"]},
        "imagePullSecrets": [{"name": "pull"}],
        "stages": {"serviceAccount": {"name": "theirs"}, "defaultQueue": "ours"},
        "allow": {"queues": []},
    }
    assert re.search(expression(values, "secretsAllowed"), "old-1")
    assert not re.search(expression(values, "secretsAllowed"), "ser-s3")
    assert re.search(expression(values, "pullSecretsAllowed"), "pull")
    assert re.search(expression(values, "serviceAccountsAllowed"), "theirs")
    assert re.search(expression(values, "queuesAllowed"), "ours")
