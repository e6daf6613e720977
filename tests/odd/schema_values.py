"""Values that a schema allows, the odd and the extreme ones as often as the plain: Hypothesis strategies that know no field by its name.

The form of a text is read from its CEL rules. Rules across fields are not: the API server and the types refuse what breaks those.
"""

import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]
Path = tuple[str, ...]

OF_KUBERNETES = "podTemplate"
"""A field whose inside is Kubernetes' own: of it the API server refuses the Job, and not the SERRun."""
ITEM = "[]"
"""Step of a path into a list."""
_MATCHES = re.compile(r"(?<!!)\b(?:self|string\(self\)|key)\.matches\(r'(.*?)'\)")
_ODD_TEXTS = ("", " ", "null", "~", "$(HOME)", "a\nb", "\x00", "\u202e", "e😀", "ﷺ", "'\"\\", "{{x}}", "--x", "../..", "0", "İ")
_INT64 = 2**63 - 1
_ODD_INTEGERS = (0, 1, -1, 2**31 - 1, 2**31, 2**53 + 1, -(2**53) - 1, _INT64, -_INT64 - 1)
_ODD_NUMBERS = (0, 1, -1, 0.1, -0.0, 5e-324, -5e-324, 1e-9, 1e22, 1.7976931348623157e308, -1.7976931348623157e308, 2**53 + 1)
_TIMES = (
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:01Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-01-31T12:00:00.123456789Z",
    "2026-01-31T23:59:60Z",
    "2026-01-31t12:00:00z",
    "2026-01-31T12:00:00+14:00",
    "2026-01-31T12:00:00-23:59",
)


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values of the schema, as JSON holds them."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return _texts(schema) | st.sampled_from((-1, 0, 1, 2, 64, 2**31, _INT64, 1.0, 0.5))
    return _OF_TYPE[schema["type"]](schema)


def paths(schema: Schema, begin: Path = ()) -> Iterator[Path]:
    """The paths of all fields below ``schema``, those of objects and lists too, but for what the inside of is Kubernetes' own."""
    for name, inner in schema.get("properties", {}).items():
        if name == OF_KUBERNETES:
            continue
        yield (*begin, name)
        yield from paths(inner, (*begin, name))
    if "properties" in schema.get("items", {}):
        yield from paths(schema["items"], (*begin, ITEM))


def at(schema: Schema, path: Path) -> Schema:
    """The schema of the field at ``path``."""
    for step in path:
        schema = schema["items"] if step == ITEM else schema["properties"][step]
    return schema


def changes(schema: Schema) -> st.SearchStrategy[tuple[Path, Any]]:
    """A field of ``schema`` and a value for it."""
    fields = {path: values(at(schema, path)) for path in paths(schema)}
    return st.sampled_from(list(fields)).flatmap(lambda path: st.tuples(st.just(path), fields[path]))


def with_value(thing: Any, path: Path, value: Any, place: int = 0) -> Any:
    """``thing`` with a new value at ``path``, in a list at its item number ``place``; what is missing around it is made."""
    if not path:
        return value
    step, *rest = path
    if step == ITEM:
        items = list(thing) if isinstance(thing, list) else []
        place = min(place, len(items))
        item = items[place] if place < len(items) else {}
        return [*items[:place], with_value(item, tuple(rest), value, place), *items[place + 1 :]]
    known = thing if isinstance(thing, dict) else {}
    return {**known, step: with_value(known.get(step), tuple(rest), value, place)}


def _objects(schema: Schema) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        keys = _texts({**schema, "maxLength": 80})
        return st.dictionaries(keys, values(schema["additionalProperties"]), max_size=min(schema.get("maxProperties", 4), 4))
    fields = {name: values(inner) for name, inner in schema.get("properties", {}).items() if name != OF_KUBERNETES}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional={name: one | st.none() for name, one in fields.items()})


def _arrays(schema: Schema) -> st.SearchStrategy[Any]:
    items, most = values(schema["items"]), schema.get("maxItems", 64)
    some = st.lists(items, max_size=min(most, 4), unique=schema.get("x-kubernetes-list-type") == "set")
    many = st.builds(lambda item, number: [item] * number, items, st.integers(1, most))
    return some if "x-kubernetes-list-type" in schema else some | many


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    most = schema.get("maxLength", 64)
    if schema.get("format") == "date-time":
        return st.sampled_from(_TIMES)
    rules = [rule["rule"] for rule in schema.get("x-kubernetes-validations", ())]
    patterns = [pattern for rule in rules for pattern in _MATCHES.findall(rule) if pattern.startswith("^")]
    if patterns:
        return st.one_of(*(_of_pattern(pattern, most) for pattern in patterns))
    plain = st.text(max_size=min(most, 12)) | st.sampled_from(_ODD_TEXTS) | st.sampled_from(_TIMES)
    longest = st.sampled_from("a9 é😀\x01$").map(lambda character: character * most)
    return (plain | longest).filter(lambda text: schema.get("minLength", 0) <= len(text) <= most)


def _of_pattern(pattern: str, most: int) -> st.SearchStrategy[str]:
    """The API server's RE2 knows ASCII classes alone."""
    found = st.from_regex(re.compile(pattern, re.ASCII), fullmatch=pattern.endswith("$"))
    return found.filter(lambda text: len(text) <= most)


def _integers(schema: Schema) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum"), schema.get("maximum")
    ends = [end for end in (low, high) if end is not None] or list(_ODD_INTEGERS)
    within = st.integers(-(2**63) if low is None else low, _INT64 if high is None else high)
    return within | st.sampled_from(ends) | st.sampled_from(ends).map(float)


def _numbers(schema: Schema) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum"), schema.get("maximum")
    over, under = bool(schema.get("exclusiveMinimum")), bool(schema.get("exclusiveMaximum"))
    allowed = [one for one in (*_ODD_NUMBERS, low, high) if one is not None and _within(one, low, high, over, under)]
    within = st.floats(low, high, exclude_min=over, exclude_max=under, allow_nan=False, allow_infinity=False)
    return within | st.sampled_from(allowed) if allowed else within


def _within(one: float, low: float | None, high: float | None, over: bool, under: bool) -> bool:
    return (low is None or one > low or (one == low and not over)) and (high is None or one < high or (one == high and not under))


_OF_TYPE = {
    "object": _objects,
    "array": _arrays,
    "string": _texts,
    "integer": _integers,
    "number": _numbers,
    "boolean": lambda _schema: st.booleans(),
}
