"""The CRD refuses at admission what the types refuse, and reads as a manual."""

import pytest

from ser_core.api.crd import crd
from ser_core.api.immutability import MUTABLE
from ser_core.api.serrun import SERRun, SERRunSpec

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
    assert node["type"] in ("object", "array", "string", "integer", "number", "boolean")
    assert not {"$ref", "anyOf", "oneOf", "allOf", "title", "$defs"} & set(node)
    assert not ("properties" in node and "additionalProperties" in node)


@pytest.mark.parametrize("path", [path for path in SPEC_NODES if "[]" not in path])
def test_every_field_is_described(path):
    assert len(SPEC_NODES[path].get("description", "")) > 10


@pytest.mark.parametrize("path", SPEC_NODES)
def test_every_field_is_bounded(path):
    node = SPEC_NODES[path]
    if node["type"] == "array":
        assert "maxItems" in node
    if node["type"] == "string" and "[]" not in path:
        assert "enum" in node or "maxLength" in node
    if node["type"] in ("integer", "number") and not path.endswith("tolerationSeconds"):
        assert {"minimum", "maximum"} <= set(node)


def defaulted(schema, value):
    """What the API server's defaulting makes of ``value``."""
    if schema["type"] != "object" or value is None:
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
    assert spec["loop"]["thresholds"]["targetPrecision"] == 0.9
    assert SERRunSpec.model_validate(spec) == SERRunSpec.model_validate(MINIMAL)


def test_every_immutable_field_has_a_rule_that_also_sees_adding_and_removing():
    rules = [rule["rule"] for rule in SPEC_NODES["spec"]["x-kubernetes-validations"]]
    for name, field in SERRunSpec.model_fields.items():
        alias = field.alias or name
        if alias not in MUTABLE and alias != "loop":
            assert any(f"has(self.{alias}) == has(oldSelf.{alias})" in rule for rule in rules), alias
    assert "self.loop.maxIterations >= oldSelf.loop.maxIterations" in rules


@pytest.mark.parametrize("path", [path for path in SPEC_NODES if path.endswith((".uri", ".base"))])
def test_file_uris_are_for_ser_run_alone(path):
    assert SPEC_NODES[path]["x-kubernetes-validations"][0]["rule"] == "!self.startsWith('file://')"


def test_status_is_a_subresource_and_the_columns_exist():
    version = crd()["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"]
        assert path.startswith(".metadata") or path in ALL_NODES, path


def test_a_status_of_the_types_fits_the_schema():
    names = set(SCHEMA["properties"]["status"]["properties"])
    written = SERRun(metadata={"name": "a"}, spec=SERRunSpec.model_validate(MINIMAL)).model_dump(by_alias=True)["status"]
    assert set(written) == names
