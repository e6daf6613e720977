"""The chart's values as rows of a table: what they mean from values.yaml, their form from the schema."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_KEY = re.compile(r"( *)([A-Za-z]+):")
_MEANING = "# -- "
_LONGEST_DEFAULT = 80
_WORDS = {"array": "list", "integer": "number", "object": "map"}
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Value:
    """A value of the chart.

    Attributes:
        path: Its keys, joined by dots.
        form: What it takes.
        default: As it stands in values.yaml, in one line of JSON; empty: too long for a table.
        meaning: Its comment.
    """

    path: str
    form: str
    default: str
    meaning: str


def values(text: str, schema: Schema) -> Iterator[Value]:
    """Every value with a comment of its own (`# -- …`), in the order of the file.

    Args:
        text: Of values.yaml, indented by two spaces.
        schema: Of values.schema.json.

    Raises:
        KeyError: The schema or the file lacks a value.
    """
    defaults = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.strip())
        elif found := _KEY.match(line):
            path[len(found[1]) // 2 :] = [found[2]]
            if meaning := _meaning(comment):
                yield Value(".".join(path), _form(_described(path, schema), schema), _default(path, defaults), meaning)
            comment = []
        else:
            comment = []


def _meaning(comment: list[str]) -> str:
    starts = [number for number, line in enumerate(comment) if line.startswith(_MEANING)]
    return " ".join(line.removeprefix(_MEANING).removeprefix("# ") for line in comment[starts[-1] :]) if starts else ""


def _described(path: list[str], schema: Schema) -> Schema:
    place = schema
    for name in path:
        place = _resolved(place["properties"][name], schema)
    return place


def _resolved(place: Schema, schema: Schema) -> Schema:
    name = place.get("$ref", "").rpartition("/")[2]
    found: Schema = schema["$defs"][name] if name else place
    return found


def _form(place: Schema, schema: Schema) -> str:
    if "enum" in place:
        return " or ".join(f"`{word}`" for word in place["enum"])
    words = _kinds(place)
    if place["type"] == "array":
        words += f" of {_kinds(_resolved(place['items'], schema))}s"
    bounds = [f"{word} {place[bound]}" for bound, word in (("minimum", "at least"), ("maximum", "at most")) if bound in place]
    return ", ".join([words, *bounds])


def _kinds(place: Schema) -> str:
    kinds = [place["type"]] if isinstance(place["type"], str) else place["type"]
    return " or ".join(_WORDS.get(kind, kind) for kind in kinds)


def _default(path: list[str], defaults: Any) -> str:
    for name in path:
        defaults = defaults[name]
    text = json.dumps(defaults, ensure_ascii=False)
    return text if len(text) <= _LONGEST_DEFAULT else ""
