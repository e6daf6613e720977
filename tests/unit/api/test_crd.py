"""The CRD refuses at admission what the types refuse, and reads as a manual."""

import re

import pytest

from ser_core.api.crd import crd
from ser_core.api.immutability import MUTABLE
from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.spec.loop import LoopSpec
from ser_core.api.spec.training import TrainingSpec
from ser_core.api.status import Condition

SCHEMA = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
MINIMAL = {"rewardModel": {"base": "hf://a/b"}, "data": {"source": {"uri": "hf://c/d"}}, "storage": {"uri": "s3://bucket/x"}}


def nodes(schema, path=""):
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from nodes(schema[name], f"{path}[]")


SPEC_NODES = dict(nodes(SCHEMA["properties"]["spec"], "spec"))
ALL_NODES = dict(nodes(SCHEMA))


@pytest.mark.parametrize("path", ALL_NODES)
def test_the_schema_is_structural(path):
    node = ALL_NODES[path]
    types = ("object", "array", "string", "integer", "number", "boolean")
    assert node.get("type") in types or (node["x-kubernetes-int-or-string"] and "type" not in node)
    assert not {"$ref", "anyOf", "oneOf", "allOf", "title", "$defs"} & set(node)
    assert not ("properties" in node and "additionalProperties" in node)


@pytest.mark.parametrize("path", [path for path in ALL_NODES if path not in ("", ".metadata")])
def test_every_field_is_described(path):
    assert len(ALL_NODES[path].get("description", "")) > 10


@pytest.mark.parametrize("path", SPEC_NODES)
def test_every_field_is_bounded(path):
    node = SPEC_NODES[path]
    kind = node.get("type", "string")
    if kind == "array":
        assert "maxItems" in node
    if kind == "string" and "[]" not in path:
        assert "enum" in node or "maxLength" in node
    if kind in ("integer", "number") and not path.endswith("tolerationSeconds"):
        assert {"minimum", "maximum"} <= set(node)


def defaulted(schema, value):
    """What the API server's defaulting makes of ``value``."""
    if schema.get("type") != "object" or value is None:
        return value
    filled = dict(value)
    for name, inner in schema.get("properties", {}).items():
        if name not in filled and "default" in inner:
            filled[name] = inner["default"]
        if name in filled:
            filled[name] = defaulted(inner, filled[name])
    return filled


def test_the_api_servers_defaults_are_the_types_defaults():
    spec = defaulted(SCHEMA["properties"]["spec"], MINIMAL)
    assert spec["loop"]["thresholds"]["minSamples"] == 600
    assert SERRunSpec.model_validate(spec) == SERRunSpec.model_validate(MINIMAL)


def messages(path):
    return [f"{rule.get('fieldPath', '')} {rule['message']}".strip() for rule in ALL_NODES[path].get("x-kubernetes-validations", ())]


def rules(path):
    return [rule["rule"] for rule in ALL_NODES[path]["x-kubernetes-validations"]]


def test_every_immutable_field_has_a_rule_that_also_sees_adding_and_removing():
    immutable = {field.alias or name for name, field in SERRunSpec.model_fields.items()} - MUTABLE - {"loop", "training"}
    in_loop = {field.alias or name for name, field in LoopSpec.model_fields.items()} - {"maxIterations"}
    in_training = {field.alias or name for name, field in TrainingSpec.model_fields.items()} - {"tokensPerBatch"}
    for path, names in ((".spec", immutable), (".spec.loop", in_loop), (".spec.training", in_training)):
        for name in names:
            assert any(f"has(self.{name}) == has(oldSelf.{name})" in rule for rule in rules(path)), name


def test_what_may_only_rise_or_fall():
    assert "(has(self.reopen) ? self.reopen : 0) >= (has(oldSelf.reopen) ? oldSelf.reopen : 0)" in rules(".spec")
    assert "self.tokensPerBatch <= oldSelf.tokensPerBatch" in rules(".spec.training")


def test_iterations_are_never_lowered_and_not_raised_after_the_policy_has_begun():
    assert "self.maxIterations >= oldSelf.maxIterations" in rules(".spec.loop")
    (begun,) = rules("")
    assert "has(self.status.policy)" in begun
    assert "self.status.stage in ['sft', 'ppo']" in begun


@pytest.mark.parametrize("path", ALL_NODES)
def test_a_null_means_left_out(path):
    assert "nullable" not in ALL_NODES[path]


@pytest.mark.parametrize("path", SPEC_NODES)
def test_a_form_is_refused_in_words_not_by_showing_a_pattern(path):
    assert "pattern" not in SPEC_NODES[path]


@pytest.mark.parametrize("path", [path for path in ALL_NODES if path.startswith(".status")])
def test_the_status_is_bounded(path):
    node = ALL_NODES[path]
    assert node["type"] != "array" or "maxItems" in node
    assert node["type"] != "string" or "enum" in node or "maxLength" in node
    assert "additionalProperties" not in node


@pytest.mark.parametrize("path", [path for path in ALL_NODES if path.endswith(("At", "Time")) and path.startswith(".status")])
def test_a_moment_is_a_date_or_left_out(path):
    node = ALL_NODES[path]
    assert node["format"] == "date-time"
    assert "default" not in node


def test_an_unknown_moment_is_not_written():
    condition = Condition(type="Ready", status="True", reason="Running")
    assert "lastTransitionTime" not in condition.model_dump(by_alias=True)


@pytest.mark.parametrize("path", [path for path, node in ALL_NODES.items() if node.get("type") == "array"])
def test_every_list_says_how_it_is_merged(path):
    assert ALL_NODES[path]["x-kubernetes-list-type"] in ("atomic", "map", "set")


def test_conditions_are_a_map_by_type():
    assert ALL_NODES[".status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]


@pytest.mark.parametrize("path", [path for path, node in ALL_NODES.items() if "x-kubernetes-validations" in node])
def test_every_rule_says_what_is_wrong_in_one_line(path):
    for message in messages(path):
        assert 20 < len(message) < 160
        assert "\n" not in message


@pytest.mark.parametrize("path", [path for path in SPEC_NODES if path.endswith((".uri", ".base"))])
def test_file_uris_are_for_ser_run_alone(path):
    assert SPEC_NODES[path]["x-kubernetes-validations"][0]["rule"] == "!self.startsWith('file://')"


def test_status_is_a_subresource_and_the_columns_exist():
    version = crd()["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    for column in version["additionalPrinterColumns"]:
        path = re.sub(r"\[\?[^]]*\]", "[]", column["jsonPath"])  # of a list the elements
        assert path.startswith(".metadata") or path in ALL_NODES, path


def test_a_status_of_the_types_fits_the_schema():
    names = set(SCHEMA["properties"]["status"]["properties"])
    written = SERRun(metadata={"name": "a"}, spec=SERRunSpec.model_validate(MINIMAL)).model_dump(by_alias=True)["status"]
    assert set(written) == names
