"""What a SERRun may ask for, and the one form in which the rest is refused."""

import pytest

from ser_core.api.serrun import SERRun
from ser_operator.allow import Allow
from ser_operator.facts.serruns.allow_lists import judged, refusal
from ser_operator.settings import Settings

DEFAULTS = Allow()


def told(allow=DEFAULTS, labels=None, namespace="team-a", **spec):
    """Why such a run is refused."""
    document = {
        "rewardModel": {"base": "hf://org/model"},
        "data": {"source": {"uri": "hf://org/data"}},
        "storage": {"uri": "s3://shared/team-a/runs"},
        **spec,
    }
    run = SERRun.model_validate({"metadata": {"name": "hh", "namespace": namespace}, "spec": document})
    body = {"metadata": {"labels": labels or {}}}
    return refusal(body, run, Settings(image="any", allow=allow), judged(body, run))


def retrain(**resources):
    return {"resources": {"retrain": resources}}


def hub(endpoint, secret=None):
    return {"hub": {"endpoint": endpoint, "credentialsSecret": secret}}


PRIORITY = {"kueue.x-k8s.io/priority-class": "system-all"}
REFUSED = {
    "another team's data": ({"data": {"source": {"uri": "s3://shared/team-b/x"}}}, "data.source.uri 's3://shared/team-b/x'", "read"),
    "another team's model": ({"rewardModel": {"base": "s3://shared/team-b/m"}}, "rewardModel.base 's3://shared/team-b/m'", "read"),
    "another team's policy": ({"policy": {"base": "s3://shared/team-b/m"}}, "policy.base 's3://shared/team-b/m'", "read"),
    "another team's prompts": (
        {"policy": {"base": "hf://org/p", "prompts": {"uri": "s3://shared/team-b/p"}}},
        "policy.prompts.uri 's3://shared/team-b/p'",
        "read",
    ),
    "an endpoint": (
        {"storage": {"uri": "s3://shared/x", "endpoint": "https://evil.com"}},
        "storage.endpoint 'https://evil.com'",
        "endpoints",
    ),
    "a hub": (hub("https://evil.com"), "hub.endpoint 'https://evil.com'", "endpoints"),
    "a Secret": ({"storage": {"uri": "s3://shared/x", "credentialsSecret": "root"}}, "storage.credentialsSecret 'root'", "secrets"),
    "the cluster's priority": (
        retrain(priorityClassName="system-node-critical"),
        "resources.retrain.priorityClassName 'system-node-critical'",
        "priorityClasses",
    ),
    "the control plane's nodes": (
        retrain(tolerations=[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]),
        "resources.retrain.tolerations[0].key 'node-role.kubernetes.io/control-plane'",
        "tolerations",
    ),
    "all nodes": (
        retrain(tolerations=[{"operator": "Exists"}]),
        "resources.retrain.tolerations[0].key '*' (every taint, since it names none)",
        "tolerations",
    ),
    "many nodes": (retrain(nodes=17), "resources.retrain.nodes 17", "nodes"),
    "many GPUs": (retrain(nodes=16, gpus=16), "resources.retrain.gpus 16 x 16 = 256", "gpus"),
    "a priority of the queue": ({"labels": PRIORITY}, "metadata.labels[kueue.x-k8s.io/priority-class] 'system-all'", "priorityClasses"),
}


@pytest.mark.parametrize(("asks", "named", "by"), REFUSED.values(), ids=REFUSED)
def test_by_default_is_refused_with_field_value_and_who_may_allow_it(asks, named, by):
    said = told(**asks)

    assert said.startswith(f"{named} is not allowed (allow.{by}: ")
    assert said.endswith(f"ask who installs the operator for allow.{by}")


def test_by_default_hub_and_own_storage_are_read():
    assert told(data={"source": {"uri": "s3://shared/team-a/runs/pairs.jsonl"}}) == ""


@pytest.mark.parametrize(("namespace", "refused"), [("team-a", False), ("team-b", True)])
def test_a_pattern_knows_the_runs_namespace(namespace, refused):
    allow = Allow(write=("s3://shared/{namespace}/*",), read=("*",))

    assert bool(told(allow, namespace=namespace)) is refused


def test_what_an_author_writes_is_no_pattern():
    storage, data = {"uri": "s3://shared/[a-z]*"}, {"source": {"uri": "s3://shared/team-b/x"}}

    assert "data.source.uri" in told(storage=storage, data=data)
    assert "data.source.uri" in told(storage={"uri": "s3://shared/{namespace}"}, data=data, namespace="team-b")


@pytest.mark.parametrize(
    ("endpoint", "secret", "refused"),
    [
        ("http://hub.example", "ser-hub", True),
        ("http://hub.example", None, False),
        ("https://hub.example", "ser-hub", False),
        ("http://127.0.0.1:80", "ser-hub", False),
        ("http://127.0.0.1%2f.hub.example", "ser-hub", True),
    ],
)
def test_a_token_goes_to_no_hub_in_clear(endpoint, secret, refused):
    said = told(Allow(endpoints=("*",)), **hub(endpoint, secret))

    assert ("in clear" in said) is refused


def test_a_long_list_leaves_room_for_the_remedy():
    said = told(Allow(write=tuple(f"s3://bucket-of-team-{number}/*" for number in range(99))))

    assert len(said) < 512


def test_a_spec_that_no_variable_of_a_pod_can_hold_is_refused():
    custom = {"template": "custom", "templateText": "{prompt}" + "$" * 9900 + "{answer}"}
    model, policy = {"base": "hf://org/model", **custom}, {"base": "hf://org/policy", **custom}

    assert told(rewardModel=model) == ""
    assert "spec is 119," in told(rewardModel=model, policy=policy)
