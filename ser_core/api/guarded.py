"""What a SERRun asks for that its cluster's administrator may forbid: what it reads, where it writes, the Secrets and nodes that it names.

A field's type says which list judges it (`Guarded`), and one walk over the spec finds them all, so that no field is judged in one place and
forgotten in another. Pure; the lists themselves are the operator's.
"""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


class AllowList(StrEnum):
    """The lists, by their names in the chart's values (`allow.…`)."""

    READ = "read"
    WRITE = "write"
    ENDPOINTS = "endpoints"
    SECRETS = "secrets"
    PRIORITY_CLASSES = "priorityClasses"
    QUEUES = "queues"
    TOLERATIONS = "tolerations"
    NODE_SELECTORS = "nodeSelectors"
    LABELS = "podTemplate.labels"
    ANNOTATIONS = "podTemplate.annotations"
    ENV = "podTemplate.env"
    ENV_FROM = "podTemplate.envFrom"
    VOLUMES = "podTemplate.volumes"
    SERVICE_ACCOUNTS = "podTemplate.serviceAccounts"
    IMAGE_PULL_SECRETS = "podTemplate.imagePullSecrets"
    RUNTIME_CLASSES = "podTemplate.runtimeClasses"
    SCHEDULERS = "podTemplate.schedulers"
    AFFINITY = "podTemplate.affinity"
    TOPOLOGY_KEYS = "podTemplate.topologyKeys"
    RESOURCE_CLAIMS = "podTemplate.resourceClaims"
    RESOURCES = "podTemplate.resources"
    SIDECARS = "podTemplate.sidecars"


@dataclass(frozen=True, slots=True)
class Guarded:
    """In the type of a field: what it holds is judged by a list."""

    by: AllowList
    absent: str | None = None
    """The value that is judged where the field is left out; None: then nothing is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that a spec asks for."""

    field: str
    """Dotted path in the spec."""
    value: str
    """A label of a node is written ``key=value``."""
    by: AllowList


def asked(part: BaseModel, path: str = "") -> Iterator[Asked]:
    """All that ``part``, which stands at ``path`` of the spec, asks for."""
    for name, alias, guard in guards(type(part)):
        value, place = getattr(part, name), f"{path}.{alias}".removeprefix(".")
        if guard is None:
            yield from _inside(value, place)
        else:
            yield from (Asked(place, text, guard.by) for text in _texts(value, guard))


@cache
def guards(model: type[BaseModel]) -> tuple[tuple[str, str, Guarded | None], ...]:
    """The fields of a model: name, name on the wire, and what judges what it holds itself; None: nothing, or its own fields say."""
    fields = model.model_fields.items()
    return tuple((name, field.alias or name, _guard(Annotated[field.annotation, None, *field.metadata])) for name, field in fields)


def _guard(annotation: Any) -> Guarded | None:
    """The mark in a type, also in one that may be None."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        return next((mark for mark in marks if isinstance(mark, Guarded)), None) or _guard(inner)
    if get_origin(annotation) in (Union, types.UnionType):
        return next(filter(None, map(_guard, get_args(annotation))), None)
    return None


def _inside(value: Any, place: str) -> Iterator[Asked]:
    if isinstance(value, BaseModel):
        yield from asked(value, place)
    elif isinstance(value, tuple):
        for number, one in enumerate(value):
            yield from _inside(one, f"{place}[{number}]")
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _inside(one, f"{place}[{key}]")


def _texts(value: Any, guard: Guarded) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{key}={inner}" for key, inner in value.items())
    elif isinstance(value, tuple):
        yield from map(str, value)
    elif (text := guard.absent if value is None else value) is not None:
        yield str(text)
