"""Enumerations whose values a later version may add to: a value that this one does not know is kept, and equals no other."""

from enum import StrEnum
from typing import Any, Self

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

MAX_LENGTH = 64


class OpenEnum(StrEnum):
    """A `StrEnum` that takes any short text. Only the status and the reports of stages use it: what a user writes is checked."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not 0 < len(value) <= MAX_LENGTH:
            return None
        unknown = str.__new__(cls, value)
        unknown._name_, unknown._value_ = value, value
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether this version has the value."""
        return type(self).__members__.get(self._name_) is self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A text: the API server must take the values of a later version, too."""
        values = ", ".join(f"`{member.value}`" for member in cls)
        return {"type": "string", "maxLength": MAX_LENGTH, "description": f"{cls.__doc__} One of {values}, or one of a later version."}
