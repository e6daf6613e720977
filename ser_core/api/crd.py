"""The CustomResourceDefinition, derived from the pydantic types: a structural schema with printer columns and CEL rules.

Bounds, defaults, descriptions and the rules of one text come from the types; rules across fields from ``ser_core.api.crd_rules``.
No field is nullable: the API server then drops a null, so the types and the rules see a field that was left out.
"""

import json
from typing import Any

from ser_core.api.crd_rules import Schema, add_rules, add_template_rules
from ser_core.api.run_template import KIND as TEMPLATE_KIND
from ser_core.api.run_template import SERRunTemplate
from ser_core.api.serrun import API_VERSION, KIND, SERRun
from ser_core.api.server_defaults import keep_server_defaults

_KEPT = (
    "type",
    "description",
    "default",
    "enum",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "x-kubernetes-int-or-string",
    "x-kubernetes-validations",
)
_KEPT_MORE = ("minProperties", "maxProperties", "required")
_OF_EVERY_OBJECT: Schema = {
    "apiVersion": {"type": "string", "description": "Group and version of this schema."},
    "kind": {"type": "string", "description": "What the object is."},
    "metadata": {"type": "object"},  # the API server describes it, and refuses another description
}
_COLUMNS = (
    ("Phase", "string", ".status.phase", 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Loop", "integer", ".status.iteration", 0),
    ("Stage", "string", ".status.stage", 0),
    ("Percent", "integer", ".status.progress.percent", 0),
    ("Learning", "string", ".status.learningStatus", 0),
    ("Best", "integer", ".status.bestIteration", 0),
    ("Accuracy", "number", ".status.rewardModel.accuracy", 0),
    ("GPU-hours", "number", ".status.gpuHours", 1),
    ("Message", "string", ".status.message", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)


def resource_schema() -> Schema:
    """The schema of a SERRun with its rules."""
    full = SERRun.model_json_schema(by_alias=True)
    schema = _structural(full, full.get("$defs", {}))
    properties = schema["properties"]
    properties |= _OF_EVERY_OBJECT
    properties["status"].pop("default", None)
    schema["required"] = ["spec"]
    add_rules(schema)
    return schema


def template_schema() -> Schema:
    """The schema of a SERRunTemplate with its rules. Nothing has a default: what it leaves out, the run says, or the run's own default."""
    full = SERRunTemplate.model_json_schema(by_alias=True)
    schema = _without_defaults(_structural(full, full.get("$defs", {})))
    schema["properties"] |= _OF_EVERY_OBJECT
    schema["required"] = ["spec"]
    add_template_rules(schema)
    return schema


def _without_defaults(schema: Schema) -> Schema:
    inner = {key: _without_defaults(schema[key]) for key in ("items",) if key in schema}
    if "properties" in schema:
        inner["properties"] = {name: _without_defaults(field) for name, field in schema["properties"].items()}
    return {key: value for key, value in schema.items() if key != "default"} | inner


def bounds(field: Schema) -> str:
    """The numbers that a field takes, for people; empty when all."""
    low = f"{'>' if field.get('exclusiveMinimum') else '≥'} {field['minimum']:g}" if "minimum" in field else ""
    high = f"{'<' if field.get('exclusiveMaximum') else '≤'} {field['maximum']:g}" if "maximum" in field else ""
    return ", ".join(part for part in (low, high) if part)


def shown_default(field: Schema) -> str:
    """The default of a field that is no object or list, as it is written in YAML; empty when there is none."""
    default = field.get("default")
    return "" if default is None or isinstance(default, dict | list) else json.dumps(default).strip('"')


def _explain(field: Schema) -> None:
    """Write default and bounds into the descriptions, because `kubectl explain` does not show them."""
    facts = {"Default": shown_default(field), "Range": bounds(field)}
    if told := [f"{name}: {fact}." for name, fact in facts.items() if fact]:
        field["description"] = " ".join([field["description"], *told])
    for inner in (*field.get("properties", {}).values(), *([field["items"]] if "properties" in field.get("items", {}) else [])):
        _explain(inner)


def crd() -> Schema:
    """The CRD of SERRuns as plain data, ready to be written as YAML."""
    schema = resource_schema()
    _explain(schema["properties"]["spec"])
    keep_server_defaults(schema["properties"]["spec"])
    columns = [{"name": name, "type": kind, "jsonPath": path, "priority": priority} for name, kind, path, priority in _COLUMNS]
    return _definition(KIND, "ser", schema, {"subresources": {"status": {}}, "additionalPrinterColumns": columns})


def template_crd() -> Schema:
    """The CRD of SERRunTemplates."""
    schema = template_schema()
    _explain(schema["properties"]["spec"])
    return _definition(TEMPLATE_KIND, "sertemplate", schema, {})


def _definition(kind: str, short: str, schema: Schema, more: Schema) -> Schema:
    group, version = API_VERSION.split("/")
    plural = f"{kind.lower()}s"
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(), "shortNames": [short]}
    # A category takes the place of a short name of the same letters: with two kinds in it, `kubectl get ser hh` would name both.
    names |= {"categories": ["ser"]} if kind == KIND else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": [{"name": version, "served": True, "storage": True, **more, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def _structural(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """``node`` without references and unions, as a structural schema wants it."""
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        return _structural({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    if "anyOf" in node:
        (inner,) = [option for option in node["anyOf"] if option.get("type") != "null"]
        outer = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
        return _structural({**inner, **outer}, definitions)
    if node.get("type") == "null":
        return {"type": "object", "description": node["description"]}
    result = {key: node[key] for key in (*_KEPT, *_KEPT_MORE) if key in node}
    if "const" in node:
        result |= {"type": "string", "enum": [node["const"]]}
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in node:
            result |= {bound.lower(): node[f"exclusive{bound}"], f"exclusive{bound}": True}
    if "properties" in node:
        result["properties"] = {name: _structural(value, definitions) for name, value in node["properties"].items()}
    elif isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = {"description": "Value of a key.", **_structural(node["additionalProperties"], definitions)}
    if node.get("additionalProperties") is True:  # a record: what another version has written stays
        result["x-kubernetes-preserve-unknown-fields"] = True
    if "items" in node:
        result["items"] = _structural(node["items"], definitions)
        # One writer, and the order counts: maps are merged in another order, and managedFields would be three times as long.
        result["x-kubernetes-list-type"] = "atomic"
    if result.get("format") == "date-time":
        result.pop("default", None)  # an empty text is no time: the field is left out
    if "default" in result:
        default = _without_nulls(result.pop("default"))
        result |= {} if default is None else {"default": default}
    return result


def _without_nulls(default: Any) -> Any:
    """A default without the fields that are left out: the API server checks defaults by the schema, which knows no null there."""
    if isinstance(default, dict):
        return {name: _without_nulls(value) for name, value in default.items() if value is not None}
    return default
