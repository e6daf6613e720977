"""What `--set` says: a field of the spec and the values that it takes."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ser_core.errors import UsageError
from ser_core.yaml_text import Loader

MOST_VALUES = 1000
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
NO_ARMS = {
    "storage": "the runs of a sweep take stages over from each other, so they have one store",
    "from": "the sweep chooses from which run each takes stages over",
    "metadata": "the sweep names its runs after metadata.name of the file",
    "suspend": "a suspended run does not end",
}
"""Fields that no `--set` may name, and why."""
_HINT = "write --set training.seed=0..4, or --set loop.rule=paper,calibrated"


@dataclass(frozen=True, slots=True)
class Setting:
    """One field and its values."""

    path: str
    """Below `spec`, with dots."""
    values: tuple[Any, ...]
    """As in a SERRun file. None: the field is left out."""


def read_setting(text: str) -> Setting:
    """``training.seed=0..4`` (both ends included), ``loop.rule=paper,reference``, ``loop.controls=[],[full]``: values as YAML writes them.

    Raises:
        UsageError: It is something else (reason `BadSetting`).
    """
    path, equals, values = text.partition("=")
    path = path.strip().removeprefix("spec.")
    if not equals or not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", path):
        raise UsageError(f"--set {text!r}: no field and values", reason="BadSetting", hint=_HINT)
    if (name := path.partition(".")[0]) in NO_ARMS:
        raise UsageError(
            f"--set {text!r}: {NO_ARMS[name]}", reason="BadSetting", hint=f"leave it out: {name} of the file holds for all runs"
        )
    try:
        listed = yaml.load(f"[{values}]", Loader)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text!r}: the values are no YAML", reason="BadSetting", hint=_HINT) from error
    found = tuple(value for one in listed for value in _expanded(one, text))
    if not found:
        raise UsageError(f"--set {text!r}: no values", reason="BadSetting", hint=_HINT)
    if len({repr(value) for value in found}) < len(found):
        raise UsageError(f"--set {text!r}: one value stands twice", reason="BadSetting", hint="name each value once")
    return Setting(path, found)


def _expanded(value: Any, text: str) -> Sequence[Any]:
    matched = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if matched is None:
        return (value,)
    first, last = int(matched[1]), int(matched[2])
    if not 0 <= last - first < MOST_VALUES:
        raise UsageError(
            f"--set {text!r}: from {first} to {last} are no values, or over {MOST_VALUES}", reason="BadSetting", hint="write first..last"
        )
    return range(first, last + 1)


def with_value(spec: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """``spec`` with the field at ``path`` set; None takes it out.

    Raises:
        UsageError: A part of ``path`` is a value of its own, not an object (reason `BadSetting`).
    """
    name, _, rest = path.partition(".")
    if not rest:
        return {key: one for key, one in spec.items() if key != name} | ({} if value is None else {name: value})
    inner = spec.get(name)
    if inner is not None and not isinstance(inner, Mapping):
        raise UsageError(f"--set {path}: {name} is {inner!r} in the file and has no fields", reason="BadSetting", hint=_HINT)
    if inner is None and value is None:  # an empty object would switch on what the file has not
        return dict(spec)
    return {**spec, name: with_value(inner or {}, rest, value)}


def told(settings: Mapping[str, Any]) -> str:
    """Settings for people: ``loop.rule=paper training.epochs=4``."""
    return " ".join(_told(settings)) or "as in the file"


def _told(settings: Mapping[str, Any]) -> Iterator[str]:
    for path, value in settings.items():
        yield f"{path}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
