"""A run over its template: what wins, what is added, and that the API server's defaults win over nothing."""

import pytest
from unit.api.test_crd import SCHEMA, defaulted, nodes

from ser_core.api.crd import template_crd
from ser_core.api.run_template import SERRunTemplateSpec, merged, resolved
from ser_core.api.serrun import SERRunSpec
from ser_core.api.server_defaults import VALUES

TEMPLATE_SCHEMA = template_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
RUN = {"rewardModel": {"base": "hf://a/b"}, "data": {"source": {"uri": "hf://c/d"}}, "storage": {"uri": "s3://bucket/x"}}
ENV = [{"name": "A", "value": "template"}, {"name": "B", "value": "template"}]
MERGED = {
    "a field that the run leaves out": ({"queueName": "team"}, {}, {"queueName": "team"}),
    "a field of the run": ({"queueName": "team"}, {"queueName": "mine"}, {"queueName": "mine"}),
    "a field that is null in the run": ({"queueName": "team"}, {"queueName": None}, {"queueName": "team"}),
    "fields of an object": (
        {"storage": {"endpoint": "https://a", "region": "one"}},
        {"storage": {"uri": "s3://b/c", "region": "two"}},
        {"storage": {"uri": "s3://b/c", "endpoint": "https://a", "region": "two"}},
    ),
    "entries of a map": (
        {"resources": {"retrain": {"nodeSelector": {"a": "1", "b": "1"}}}},
        {"resources": {"retrain": {"nodeSelector": {"b": "2"}}}},
        {"resources": {"retrain": {"nodeSelector": {"a": "1", "b": "2"}}}},
    ),
    "a list": (
        {"resources": {"retrain": {"tolerations": [{"key": "a"}]}}},
        {"resources": {"retrain": {"tolerations": [{"key": "b"}]}}},
        {"resources": {"retrain": {"tolerations": [{"key": "b"}]}}},
    ),
    "a list of a pod template": (
        {"podTemplate": {"env": ENV}},
        {"podTemplate": {"env": [{"name": "B", "value": "run"}]}},
        {"podTemplate": {"env": [ENV[0], {"name": "B", "value": "run"}]}},
    ),
    "a list of a stage's pod template": (
        {"resources": {"ppo": {"podTemplate": {"env": ENV}}}},
        {"resources": {"ppo": {"podTemplate": {"env": [{"name": "A", "value": "run"}]}}}},
        {"resources": {"ppo": {"podTemplate": {"env": [ENV[1], {"name": "A", "value": "run"}]}}}},
    ),
    "a default that the API server writes": (
        {"resources": {"retrain": {"gpus": 8}}},
        {"resources": {"retrain": {"gpus": 0, "nodes": 1}}},
        {"resources": {"retrain": {"gpus": 8, "nodes": 1}}},
    ),
    "a default that it does not write": ({"retries": {"limit": 5}}, {"retries": {"limit": 3}}, {"retries": {"limit": 3}}),
}


@pytest.mark.parametrize(("template", "run", "wanted"), MERGED.values(), ids=MERGED)
def test_of_run_and_template(template, run, wanted):
    assert merged(run, template) == wanted


def test_what_the_api_server_writes_into_a_run_hides_nothing_of_its_template():
    written = defaulted(SCHEMA["properties"]["spec"], RUN)
    shared = {"resources": {"retrain": {"gpus": 8, "nodes": 2, "tolerations": [{"key": "gpu"}]}}, "storage": {"retain": "best"}}

    there, here = (SERRunSpec.model_validate(merged(run, shared)) for run in (written, RUN))

    assert there == here
    assert (here.resources.retrain.gpus, here.storage.retain) == (8, "best")


def test_the_copy_counts_and_not_a_template_that_the_run_does_not_name():
    status = {"template": {"name": "team", "spec": {"queueName": "team"}}}

    assert resolved({"spec": {**RUN, "templateRef": {"name": "team"}}, "status": status})["spec"]["queueName"] == "team"
    assert resolved({"spec": RUN, "status": status})["spec"] == RUN


@pytest.mark.parametrize("status", [None, {}, {"template": None}, {"template": 3}, {"template": {"spec": 3}}])
def test_a_status_without_a_copy_changes_nothing(status):
    document = {"spec": {**RUN, "templateRef": {"name": "team"}}, "status": status}
    assert resolved(document) == document


def test_a_template_has_no_field_that_a_run_does_not_have_and_no_default():
    ours, theirs = (dict(nodes(one["properties"]["spec"])) for one in (TEMPLATE_SCHEMA, SCHEMA))
    assert ours.keys() <= theirs.keys()
    assert not [path for path, node in ours.items() if "default" in node]
    assert "storage" in SERRunTemplateSpec.model_fields and ".storage.uri" not in ours


def test_a_template_is_checked_like_the_run():
    ours, theirs = (dict(nodes(one["properties"]["spec"])) for one in (TEMPLATE_SCHEMA, SCHEMA))
    of_several_fields = {".storage", "", ".loop", ".training"}
    for path, node in ours.items():
        if path not in of_several_fields:
            assert node.get("x-kubernetes-validations") == theirs[path].get("x-kubernetes-validations"), path


def test_only_these_fields_cannot_be_put_back_to_their_default():
    """docs/operations.md lists them."""
    shared = {path.removeprefix(".") for path in dict(nodes(TEMPLATE_SCHEMA["properties"]["spec"]))}
    plain = {path.rpartition(".")[2] for path in VALUES if path in shared and VALUES[path] != {} and "[]" not in path}
    assert plain == {"nodes", "gpus", "tolerations", "retain"}
