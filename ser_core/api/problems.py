"""From pydantic's validation errors to sentences that name the field, the value and the remedy."""

import difflib
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

UNKNOWN = frozenset({"extra_forbidden", "enum", "literal_error"})
"""Kinds of the problems that a document of a later version has: a field, or a value of a choice, that is not known here."""
_SHOWN_CHARACTERS = 80
_FIELDS = "expected fields, each as name: value on a line of its own, or as {name: value}"
_LIST = "expected a list, such as [a, b]"
_WORDS = {
    "model_type": _FIELDS,
    "model_attributes_type": _FIELDS,
    "dict_type": _FIELDS,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "string_type": "expected text: write a number, or a word such as yes, in quotes",
}
"""For pydantic's types of errors whose own words are those of JSON or Python."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document."""

    path: tuple[str | int, ...]
    """Keys and list positions that lead to it."""
    text: str
    kind: str = ""
    """pydantic's type of the error."""

    @property
    def field(self) -> str:
        """Dotted path, for example ``spec.loop.maxIterations`` or ``spec.loop.controls[1]``."""
        return dotted(self.path)


def dotted(path: tuple[str | int, ...]) -> str:
    """Keys and list positions as one text."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def problems(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """All problems of a document that was validated as ``model``, in document order."""
    return [_problem(detail, model) for detail in error.errors(include_url=False)]


def _problem(detail: Mapping[str, Any], model: type[BaseModel]) -> Problem:
    path, kind = tuple(detail["loc"]), detail["type"]
    if kind == "extra_forbidden":
        return Problem(path, _unknown_field(str(path[-1]), _fields_at(model, path[:-1])), kind)
    if kind == "missing":
        return Problem(path, "is missing: it has no default", kind)
    if kind == "value_error":
        return Problem(path, str(detail["ctx"]["error"]), kind)
    value = repr(detail["input"])
    shown = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
    message = _WORDS.get(kind) or detail["msg"][0].lower() + detail["msg"][1:]
    return Problem(path, f"{shown}: {message}", kind)


def _unknown_field(name: str, known: list[str]) -> str:
    lower = {field.lower(): field for field in known}
    near = difflib.get_close_matches(name.lower().replace("_", ""), lower, n=1, cutoff=0.6)
    remedy = f"did you mean {lower[near[0]]}?" if near else f"known here: {', '.join(known)}"
    return f"is no field; {remedy}"


def is_field(model: type[BaseModel], path: tuple[str, ...]) -> bool:
    """Whether ``model`` has a field at ``path``, by the names that users write."""
    return all(part in _fields_at(model, path[:place]) for place, part in enumerate(path))


def _fields_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str) and current is not None:
            field = next((field for field in current.model_fields.values() if field.alias == part), None)
            current = _model_in(field.annotation) if field is not None else None
    return [field.alias or name for name, field in current.model_fields.items()] if current is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
    return None
