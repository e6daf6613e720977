"""The chart's policy on the operator's Jobs, as it is rendered; tests/e2e/test_job_policy.py tries it."""

import re

import pytest
from chart.rendering import objects, of_kind, the

from ser_operator.allow import Allow

POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"


def expression(values, name):
    """The regular expression of a list, for the namespace `lab`."""
    (found,) = [one["expression"] for one in the(objects(values), POLICY)["spec"]["variables"] if one["name"] == name]
    text, _ = found.split(".replace('{namespace}', request.namespace)")
    return text.strip('"').replace("\\\\", "\\").replace("{namespace}", "lab")


def test_it_can_be_turned_off_and_is_on_by_default():
    assert of_kind(objects({"rbac": {"jobPolicy": False}}), POLICY) == []
    found = objects({})
    assert the(found, BINDING)["spec"]["policyName"] == the(found, POLICY)["metadata"]["name"]


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
    found = expression({"allow": {"secrets": [pattern]}}, "secrets")
    assert re.search(found, matched)
    assert other is None or not re.search(found, other)


def test_forbidden_names_stand_apart_and_an_empty_list_matches_none():
    values = {"allow": {"secrets": ["*", "!ser-admin"]}}
    assert re.search(expression(values, "secretsForbidden"), "ser-admin")
    assert not re.search(expression(values, "secretsForbidden"), "ser-s3")
    assert not re.search(expression({"allow": {"secrets": []}}, "secrets"), "ser-s3")


def test_a_list_that_is_left_out_is_the_operators_own():
    defaults = {"secrets": Allow().secrets, "accounts": ("ser-stage", *Allow().pod_template.service_accounts)}
    for name, patterns in defaults.items():
        assert expression({"allow": None}, name) == expression({"allow": {"secrets": list(patterns)}}, "secrets")


def test_the_earlier_name_of_the_list_and_the_charts_own_accounts_and_pull_secrets_count():
    values = {
        "settings": {"allowedSecrets": ["old-*"]},
        "imagePullSecrets": [{"name": "pull"}],
        "stages": {"serviceAccount": {"name": "theirs"}},
    }
    assert re.search(expression(values, "secrets"), "old-1")
    assert not re.search(expression(values, "secrets"), "ser-s3")
    assert re.search(expression(values, "pullSecrets"), "pull")
    assert re.search(expression(values, "accounts"), "theirs")
