"""Odd SERRuns: plain ones with odd values at some of their fields."""

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from odd.schema_values import Schema, changes, with_value
from ser_core.api.crd import crd
from ser_core.api.serrun import API_VERSION, KIND, SERRunSpec

API = {"apiVersion": API_VERSION, "kind": KIND}
SCHEMA: Schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
SOURCE = {"source": {"uri": "hf://org/data"}}
FILES = {name: {"uri": f"s3://bucket/{name}"} for name in ("seed", "unlabeled", "heldout")}
SPECS = [
    {"rewardModel": {"base": "hf://org/model"}, "data": data, "storage": {"uri": "s3://runs/x"}, **policy}
    for data in (SOURCE, FILES)
    for policy in ({}, {"policy": {"base": "hf://org/policy", "sft": {}}})
]
_SPEC_CHANGES = st.lists(changes(SCHEMA["spec"]), min_size=1, max_size=6)
_STATUS_CHANGES = st.lists(st.tuples(changes(SCHEMA["status"]), st.integers(0, 4)), min_size=1, max_size=4)


@st.composite
def odd_specs(draw: st.DrawFn) -> Any:
    """Specs. One of eight breaks a rule across fields, if its changes do; of the others only the changes that the types take are kept."""
    spec, keeps = draw(st.sampled_from(SPECS)), draw(st.integers(0, 7)) == 0
    for path, value in draw(_SPEC_CHANGES):
        changed = without_nulls(with_value(spec, path, value))
        spec = changed if keeps or _is_taken(changed) else spec
    return spec


@st.composite
def odd_statuses(draw: st.DrawFn, known: list[Any]) -> Any:
    """Statuses that the schema allows, made from ``known`` ones."""
    status = draw(st.sampled_from(known))
    for (path, value), place in draw(_STATUS_CHANGES):
        status = with_value(status, path, value, place)
    return without_nulls(status)


def some(examples: int) -> settings:
    """A test over ``examples``, the same ones each time; SER_ODD_EXAMPLES asks for so many new ones. They are small: none is shrunk."""
    wanted = os.environ.get("SER_ODD_EXAMPLES")
    return settings(
        max_examples=int(wanted or examples),
        derandomize=wanted is None,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def without_nulls(value: Any) -> Any:
    """As the API server keeps it."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _is_taken(spec: Any) -> bool:
    try:
        SERRunSpec.model_validate(spec)
    except ValidationError:
        return False
    return True
