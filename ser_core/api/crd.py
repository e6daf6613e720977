"""The CustomResourceDefinition, derived from the pydantic types: a structural schema with printer columns and CEL rules.

Bounds, defaults and descriptions come from the types. What pydantic checks in code (cross-field rules) stands here once more in
CEL, so that the API server refuses a bad spec while the operator is down.
"""

from typing import Any

from ser_core.api.immutability import MUTABLE
from ser_core.api.serrun import API_VERSION, KIND, SERRun, SERRunSpec

Schema = dict[str, Any]

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
)
_KEPT_MORE = ("minProperties", "maxProperties", "required")
_NO_FILE = {"rule": "!self.startsWith('file://')", "message": "file:// is for ser run alone: use s3:// or hf://"}
_WITHOUT_FILE = (
    "spec.rewardModel.base",
    "spec.storage.uri",
    "spec.data.source.uri",
    "spec.data.seed.uri",
    "spec.data.unlabeled.uri",
    "spec.data.heldout.uri",
)
_COLUMNS = (
    ("Phase", "string", ".status.phase", 0),
    ("Loop", "integer", ".status.iteration", 0),
    ("Stage", "string", ".status.stage", 0),
    ("Learning", "string", ".status.learningStatus", 0),
    ("Best", "integer", ".status.bestIteration", 0),
    ("Accuracy", "number", ".status.rewardModel.accuracy", 0),
    ("GPU-hours", "number", ".status.gpuHours", 1),
    ("Message", "string", ".status.message", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)


def crd() -> Schema:
    """The CRD as plain data, ready to be written as YAML."""
    full = SERRun.model_json_schema(by_alias=True)
    schema = _structural(full, full.get("$defs", {}))
    properties = schema["properties"]
    properties["apiVersion"], properties["kind"], properties["metadata"] = {"type": "string"}, {"type": "string"}, {"type": "object"}
    properties["status"].pop("default", None)
    schema["required"] = ["spec"]
    _add_rules(schema)
    group, version = API_VERSION.split("/")
    columns = [{"name": name, "type": kind, "jsonPath": path, "priority": priority} for name, kind, path, priority in _COLUMNS]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"serruns.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": "serruns",
                "singular": "serrun",
                "shortNames": ["ser"],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
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
        return {**_structural({**inner, **outer}, definitions), "nullable": True}
    if node.get("type") == "null":
        return {"type": "object", "nullable": True, "maxProperties": 0, "description": node.get("description", "")}
    result = {key: node[key] for key in (*_KEPT, *_KEPT_MORE) if key in node}
    if "const" in node:
        result |= {"type": "string", "enum": [node["const"]]}
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in node:
            result |= {bound.lower(): node[f"exclusive{bound}"], f"exclusive{bound}": True}
    if "properties" in node:
        result["properties"] = {name: _structural(value, definitions) for name, value in node["properties"].items()}
    elif isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(node["additionalProperties"], definitions)
    if "items" in node:
        result["items"] = _structural(node["items"], definitions)
    if result.get("default", 0) is None:
        del result["default"]
    return result


def _add_rules(schema: Schema) -> None:
    for path in _WITHOUT_FILE:
        _at(schema, path)["x-kubernetes-validations"] = [_NO_FILE]
    _at(schema, "spec.loop.controls")["x-kubernetes-list-type"] = "set"
    _at(schema, "spec.loop.thresholds")["x-kubernetes-validations"] = [
        {"rule": "self.low < self.high", "message": "low must be below high", "fieldPath": ".low"}
    ]
    _at(schema, "spec.data.source")["x-kubernetes-validations"] = [
        {
            "rule": "self.seedFraction + self.heldoutFraction < 1.0",
            "message": "seedFraction + heldoutFraction leaves no pool: keep the sum below 1",
            "fieldPath": ".seedFraction",
        }
    ]
    _at(schema, "spec.data")["x-kubernetes-validations"] = [
        {
            "rule": "has(self.source) ? !has(self.seed) && !has(self.unlabeled) && !has(self.heldout)"
            " : has(self.seed) && has(self.unlabeled) && has(self.heldout)",
            "message": "give source alone, or seed, unlabeled and heldout",
        }
    ]
    _at(schema, "spec")["x-kubernetes-validations"] = [*_immutability_rules(), *_output_rules()]


def _immutability_rules() -> list[Schema]:
    """One rule a field, on `spec`: rules on a field itself are skipped when it is added or removed."""
    names = [field.alias or name for name, field in SERRunSpec.model_fields.items()]
    rules = [_unchanged(name) for name in names if name not in MUTABLE and name != "loop"]
    loop = SERRunSpec.model_fields["loop"].annotation
    parts = [field.alias or name for name, field in loop.model_fields.items()] if loop is not None else []
    rules += [_unchanged(f"loop.{name}") for name in parts if name != "maxIterations"]
    growing = "self.loop.maxIterations >= oldSelf.loop.maxIterations"
    return [*rules, {"rule": growing, "message": "loop.maxIterations may only be raised"}]


def _output_rules() -> list[Schema]:
    """One rule an input: the run's storage is neither the input nor inside it."""
    inputs = {"rewardModel.base": "true"} | {
        f"data.{name}.uri": f"has(self.data.{name})" for name in ("source", "seed", "unlabeled", "heldout")
    }
    return [
        {
            "rule": f"!({given} && (self.storage.uri + '/').startsWith(self.{path} + '/'))",
            "message": f"storage.uri lies inside {path}: store the run beside its inputs",
        }
        for path, given in inputs.items()
    ]


def _unchanged(path: str) -> Schema:
    new, old = f"self.{path}", f"oldSelf.{path}"
    return {
        "rule": f"has({new}) == has({old}) && (!has({new}) || {new} == {old})",
        "message": f"{path} cannot change once the run exists: use another metadata.name",
    }


def _at(schema: Schema, path: str) -> Schema:
    for name in path.split("."):
        schema = schema["properties"][name]
    return schema
