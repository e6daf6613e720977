"""The bases of the API types: frozen, camelCase on the wire, docs under the fields.

What a user writes is a `Model`: a field that it does not have is refused. What the project itself has written is a `Record`: a later
version may have written it, so what it does not have is kept as it came, and ignored.
"""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Frozen pydantic model. Non-finite numbers are refused; names are camelCase in YAML and snake_case in Python."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class Record(Model):
    """A `Model` that keeps the fields that it does not know: they are equal, copied and written again like its own."""

    model_config = ConfigDict(extra="allow")


def unknown_fields(value: object, place: str = "") -> tuple[str, ...]:
    """Dotted paths of the fields that the records in ``value`` keep without knowing them."""
    if isinstance(value, BaseModel):
        own = tuple(f"{place}.{name}".removeprefix(".") for name in value.model_extra or {})
        known = ((field.alias or name, getattr(value, name)) for name, field in type(value).model_fields.items())
        return own + tuple(path for name, inner in known for path in unknown_fields(inner, f"{place}.{name}".removeprefix(".")))
    if isinstance(value, dict):
        return tuple(path for name, inner in value.items() for path in unknown_fields(inner, f"{place}.{name}"))
    if isinstance(value, tuple):
        return tuple(path for index, inner in enumerate(value) for path in unknown_fields(inner, f"{place}[{index}]"))
    return ()
