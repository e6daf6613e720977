"""The part of a document that this version knows: another version may have added fields to the spec, and anybody may write a status."""

import copy
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from ser_core.api.model import Model
from ser_core.api.problems import dotted
from ser_core.api.status import SERRunStatus

Document = Mapping[str, Any]
Read = TypeVar("Read", bound=Model)
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A field of a document that a model does not have."""

    path: Path
    value: Any

    @property
    def field(self) -> str:
        """Dotted path."""
        return dotted(self.path)


def read_known(model: type[Read], document: Document) -> tuple[Read, tuple[Unknown, ...]]:
    """``document`` as a ``model``, and the fields in it that the model does not have.

    Raises:
        ValidationError: A field that the model has is wrong, or has a value that only another version knows.
    """
    try:
        return model.model_validate(document), ()
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        unknown = tuple(Unknown(tuple(detail["loc"]), detail["input"]) for detail in details if detail["type"] == "extra_forbidden")
        rest = copy.deepcopy(dict(document)) if unknown else {}
        if not unknown or not all(_removed(rest, found.path) for found in unknown):
            raise
    known, more = read_known(model, rest)
    return known, (*unknown, *more)


def with_unknown(document: MutableMapping[str, Any], unknown: tuple[Unknown, ...]) -> MutableMapping[str, Any]:
    """``document`` with the fields that `read_known` has taken out, where their places still exist."""
    for found in unknown:
        _at(document, found.path[:-1]).setdefault(found.path[-1], found.value)
    return document


def read_status(document: Document) -> SERRunStatus:
    """The status that ``document`` holds; when it cannot be read, one with the run's template alone, unless it says that the run has ended:
    that is believed."""
    try:
        return SERRunStatus.model_validate(document)
    except ValidationError:
        unreadable = unreadable_fields(document)
    rest = SERRunStatus.model_validate({name: document[name] for name in document if name not in unreadable})
    return rest if rest.has_ended else SERRunStatus(template=rest.template)


def unreadable_fields(document: Document) -> frozenset[str]:
    """The fields of a status that hold what they cannot: a later version only adds fields, and values of enumerations."""
    try:
        SERRunStatus.model_validate(document)
    except ValidationError as error:
        return frozenset(str(detail["loc"][0]) for detail in error.errors(include_url=False) if detail["loc"]) or frozenset(document)
    return frozenset()


def _removed(document: Any, path: Path) -> bool:
    """Whether there was something at ``path`` of ``document``, which is now without it."""
    place = _at(document, path[:-1])
    there = path[-1] in place
    place.pop(path[-1], None)
    return there


def _at(document: Any, path: Path) -> Any:
    """The mapping at ``path``; an empty one that belongs to nothing where there is none."""
    for part in path:
        try:
            document = document[part]
        except (LookupError, TypeError):
            return {}
    return document if isinstance(document, MutableMapping) else {}
