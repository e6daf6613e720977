"""What pydantic checks in code across fields, once more in CEL: the API server refuses a bad spec while the operator is down.

Rules stay within the API server's cost budget because every text, list and map in the schema is bounded.
"""

from typing import Any

from pydantic import BaseModel

from ser_core.api.immutability import MUTABLE
from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.data import COLUMN_PAIRS, SPLIT_BY_OF_FILES, pair_wanted
from ser_core.api.spec.loop import LoopSpec
from ser_core.api.spec.resources import ResourcesSpec
from ser_core.api.spec.template import ANSWER, MISPLACED, MISSING, PROMPT
from ser_core.api.spec.training import TrainingSpec

Schema = dict[str, Any]

_MAP_KEYS = {"status.conditions": ["type"]}
_DATA_FILES = ("seed", "unlabeled", "heldout")


def add_rules(schema: Schema) -> None:
    """Add the rules across fields to the schema of the whole resource, in place."""
    _at(schema, "spec.loop.controls")["x-kubernetes-list-type"] = "set"
    for path, keys in _MAP_KEYS.items():
        _at(schema, path).update({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys})
    rules = {
        "": [_policy_begun_rule()],
        "spec": [*_spec_rules(), *_output_rules()],
        "spec.data": [_one_way_rule(), {"rule": "!has(self.source) || !has(self.splitBy)", "message": SPLIT_BY_OF_FILES}],
        "spec.data.source": [_pool_rule()],
        **{f"spec.data.{name}.columns": _pairs_rules() for name in ("source", *_DATA_FILES)},
        "spec.rewardModel": _template_rules(),
        "spec.policy": [*_answers_rules(), *_template_rules()],
        "spec.training": _training_rules(),
        "spec.loop": _loop_rules(),
        "spec.loop.thresholds": [_order_rule()],
    }
    for path, added in rules.items():
        _at(schema, path)["x-kubernetes-validations"] = added
    add_template_rules(schema)


def add_template_rules(schema: Schema) -> None:
    """Add those of the fields that a SERRunTemplate may have too, in place."""
    authorities = {"rule": "has(self.secret) != has(self.configMap)", "message": "give either secret or configMap"}
    _at(schema, "spec.storage.caBundleFrom")["x-kubernetes-validations"] = [authorities]
    for stage in _fields(ResourcesSpec):
        _at(schema, f"spec.resources.{stage}.tolerations")["items"]["x-kubernetes-validations"] = _toleration_rules()


def _order_rule() -> Schema:
    message = "low must be below high"
    values = "'low %s must be below high %s'.format([self.low, self.high])"
    return {"rule": "self.low < self.high", "message": message, "messageExpression": values, "fieldPath": ".low"}


def _pool_rule() -> Schema:
    message = "seedFraction + heldoutFraction leaves no pool: keep the sum below 1"
    values = "'seedFraction %s + heldoutFraction %s leaves no pool: keep the sum below 1'.format([self.seedFraction, self.heldoutFraction])"
    rule = "self.seedFraction + self.heldoutFraction < 1.0"
    return {"rule": rule, "message": message, "messageExpression": values, "fieldPath": ".seedFraction"}


def _pairs_rules() -> list[Schema]:
    return [{"rule": f"has(self.{pair[0]}) == has(self.{pair[1]})", "message": pair_wanted(pair)} for pair in COLUMN_PAIRS]


def _one_way_rule() -> Schema:
    none, all_of = (" && ".join(f"{sign}has(self.{name})" for name in _DATA_FILES) for sign in ("!", ""))
    return {"rule": f"has(self.source) ? {none} : {all_of}", "message": "give source alone, or seed, unlabeled and heldout"}


def _answers_rules() -> list[Schema]:
    message = "answersPerPrompt 1 leaves advantage rloo no answer to compare with: set it to 2 or more, for example 4"
    values = "'rolloutsPerStep %d is no multiple of answersPerPrompt %d'.format([self.rolloutsPerStep, self.answersPerPrompt])"
    return [
        {
            "rule": "!has(self.advantage) || self.advantage != 'rloo' || (has(self.answersPerPrompt) && self.answersPerPrompt > 1)",
            "message": message,
            "fieldPath": ".answersPerPrompt",
        },
        {
            "rule": "!has(self.answersPerPrompt) || self.rolloutsPerStep % self.answersPerPrompt == 0",
            "message": "rolloutsPerStep is no multiple of answersPerPrompt",
            "messageExpression": values,
            "fieldPath": ".rolloutsPerStep",
        },
    ]


def _template_rules() -> list[Schema]:
    text = "self.templateText"
    once = [f"{text}.indexOf('{part}') == {text}.lastIndexOf('{part}')" for part in (PROMPT, ANSWER)]
    return [
        {
            "rule": f"!has(self.template) || self.template != 'custom' || has({text})",
            "message": MISSING,
            "fieldPath": ".templateText",
        },
        {
            "rule": f"!has({text}) || {text}.contains('{PROMPT}') && {text}.endsWith('{ANSWER}') && {' && '.join(once)}",
            "message": MISPLACED,
            "fieldPath": ".templateText",
        },
    ]


def _toleration_rules() -> list[Schema]:
    return [
        {
            "rule": "self.operator == 'Exists' ? !has(self.value) || self.value == '' : has(self.key)",
            "message": "operator Exists takes no value, and operator Equal needs a key",
        },
        {
            "rule": "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "message": "tolerationSeconds goes with effect NoExecute",
        },
    ]


def _spec_rules() -> list[Schema]:
    reopened = {
        "rule": "(has(self.reopen) ? self.reopen : 0) >= (has(oldSelf.reopen) ? oldSelf.reopen : 0)",
        "message": "may only be raised: each rise reopens a failed run",
        "fieldPath": ".reopen",
    }
    inside = ("loop", "training", "queueName")
    return [*(_unchanged(name) for name in _fields(SERRunSpec) if name not in MUTABLE and name not in inside), _queue_rule(), reopened]


def _training_rules() -> list[Schema]:
    """On `spec.training`, which its default keeps from being added or removed."""
    falling = {
        "rule": "self.tokensPerBatch <= oldSelf.tokensPerBatch",
        "message": "may only be lowered once the run exists: use another metadata.name",
        "fieldPath": ".tokensPerBatch",
    }
    return [*(_unchanged(name) for name in _fields(TrainingSpec) if name != "tokensPerBatch"), falling]


def _queue_rule() -> Schema:
    unchanged = _unchanged("queueName")
    message = "cannot change while the run is at work: set suspend to true too"
    return {**unchanged, "rule": f"self.suspend || {unchanged['rule']}", "message": message}


def _loop_rules() -> list[Schema]:
    """On `spec.loop`, which its default keeps from being added or removed."""
    growing = {
        "rule": "self.maxIterations >= oldSelf.maxIterations",
        "message": "may only be raised: suspend the run to stop it early, or use another metadata.name",
        "fieldPath": ".maxIterations",
    }
    return [*(_unchanged(name) for name in _fields(LoopSpec) if name != "maxIterations"), growing]


def _fields(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _unchanged(name: str) -> Schema:
    """On the object that holds the field: a rule on the field itself is skipped when it is added or removed."""
    new, old = f"self.{name}", f"oldSelf.{name}"
    return {
        "rule": f"has({new}) == has({old}) && (!has({new}) || {new} == {old})",
        "message": "cannot change once the run exists: use another metadata.name",
        "fieldPath": f".{name}",
    }


def _policy_begun_rule() -> Schema:
    """On the resource as a whole: only there does a rule see spec and status."""
    begun = "has(self.status.policy) || has(self.status.stage) && self.status.stage in ['sft', 'ppo']"
    new, old = "self.spec.loop.maxIterations", "oldSelf.spec.loop.maxIterations"
    message = "cannot be raised once the policy stage has begun: use another metadata.name"
    rule = f"!has(self.status) || !({begun}) || {new} <= {old}"
    return {"rule": rule, "message": message, "fieldPath": ".spec.loop.maxIterations"}


def _output_rules() -> list[Schema]:
    """One rule an input: the run's storage is neither the input nor inside it, with or without a slash at an end."""
    inputs = {"rewardModel.base": "true"} | {f"data.{name}.uri": f"has(self.data.{name})" for name in ("source", *_DATA_FILES)}
    inputs |= {"policy.base": "has(self.policy)", "policy.prompts.uri": "has(self.policy) && has(self.policy.prompts)"}
    return [
        {
            "rule": f"!({given} && ({_inside('self.storage.uri', f'self.{path}')}))",
            "message": f"lies inside {path}: store the run beside its inputs",
            "messageExpression": f'"%s lies inside {path} %s: store the run beside its inputs".format([self.storage.uri, self.{path}])',
            "fieldPath": ".storage.uri",
        }
        for path, given in inputs.items()
    ]


def _inside(inner: str, outer: str) -> str:
    """Without making texts, whose length the API server cannot estimate."""
    ends = f"{outer}.endsWith('/') || size({inner}) == size({outer}) || {inner}.indexOf('/', size({outer})) == size({outer})"
    same_but_slash = f"{outer}.endsWith('/') && size({outer}) == size({inner}) + 1 && {outer}.startsWith({inner})"
    return f"{inner}.startsWith({outer}) && ({ends}) || {same_but_slash}"


def _at(schema: Schema, path: str) -> Schema:
    for name in path.split(".") if path else ():
        schema = schema["properties"][name]
    return schema
