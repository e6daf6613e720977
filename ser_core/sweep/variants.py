"""The runs of a sweep: each combination of the settings, with a name, and the run whose stages it may take over."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ser_core.api.serrun import SERRunSpec
from ser_core.api.status import StageKind
from ser_core.errors import UsageError
from ser_core.store.stages.stage_key import fields_read
from ser_core.sweep.settings import Setting, told, with_value

REPETITIONS = ("training.seed", "data.splitSeed")
"""Fields whose values repeat an arm; all other settings make arms."""
MOST_RUNS = 1000
_NAME_LENGTH = 50
_SHARED = ((StageKind.PREPARE, 0), (StageKind.RETRAIN, 0))
"""The stages that many runs of a sweep have in common: the split and the seed model."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of a sweep."""

    name: str
    settings: Mapping[str, Any]
    """Values by field, in the order of the command line."""
    spec: Mapping[str, Any]
    """As in a SERRun file."""

    @property
    def arm(self) -> str:
        """What it has in common with its repetitions, for people."""
        return told({path: value for path, value in self.settings.items() if path not in REPETITIONS})


def variants(name: str, spec: Mapping[str, Any], settings: Sequence[Setting]) -> tuple[Variant, ...]:
    """Every combination of the settings; the first setting varies slowest.

    Args:
        name: Of the SERRun in the file. Names of runs begin with it.
        spec: Of the file.
        settings: At least one.

    Raises:
        UsageError: A field is named twice, a setting does not fit the file, or there are too many runs (reason `BadSetting`).
    """
    paths = [setting.path for setting in settings]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise UsageError(f"--set {twice} is given twice", reason="BadSetting", hint="list all values after one --set")
    idle = next((setting.path for setting in settings if setting.values == (None,) and with_value(spec, setting.path, None) == spec), None)
    if idle is not None:
        raise UsageError(
            f"--set {idle}=null changes nothing: the file has no {idle}",
            reason="BadSetting",
            hint="see whether the name is right, or leave it out",
        )
    combinations = list(product(*(setting.values for setting in settings)))
    if len(combinations) > MOST_RUNS:
        raise UsageError(f"{len(combinations):,} runs: at most {MOST_RUNS}", reason="BadSetting", hint="set fewer values")
    found = [_variant(name, spec, dict(zip(paths, values, strict=True))) for values in combinations]
    names = [one.name for one in found]
    return tuple(one if names.count(one.name) == 1 else _hashed(name, one) for one in found)


def _variant(name: str, spec: Mapping[str, Any], settings: Mapping[str, Any]) -> Variant:
    changed: Mapping[str, Any] = spec
    for path, value in settings.items():
        changed = with_value(changed, path, value)
    told_by = "-".join(_slug(path, value) for path, value in settings.items())
    found = Variant(f"{name}-{told_by}", settings, changed)
    return found if len(found.name) <= _NAME_LENGTH else _hashed(name, found)


def _slug(path: str, value: Any) -> str:
    """``paper`` for a word, ``seed0`` for a number, which says little by itself."""
    text = value if isinstance(value, str) else f"{path.rpartition('.')[2]}{json.dumps(value)}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _hashed(name: str, variant: Variant) -> Variant:
    digest = hashlib.sha256(json.dumps(dict(variant.settings), sort_keys=True).encode()).hexdigest()[:8]
    return Variant(f"{name[: _NAME_LENGTH - 9].rstrip('-.')}-{digest}", variant.settings, variant.spec)


def leaders(specs: Sequence[SERRunSpec]) -> tuple[int | None, ...]:
    """For each run the earlier one with which it shares the most stages, from which it takes them over; None: there is none.

    A file that has a `from` of its own keeps it.
    """
    shared = [[fields_read(spec, stage, iteration) for stage, iteration in _SHARED] for spec in specs]
    return tuple(None if spec.from_ is not None else _leader(shared[:number], shared[number]) for number, spec in enumerate(specs))


def _leader(before: Sequence[list[dict[str, Any]]], own: list[dict[str, Any]]) -> int | None:
    equal = [_equal(theirs, own) for theirs in before]
    most = max(equal, default=0)
    return equal.index(most) if most else None


def _equal(theirs: list[dict[str, Any]], own: list[dict[str, Any]]) -> int:
    """How many stages have equal fields, counted from the first on: a stage reads what the one before it has made."""
    different = [a != b for a, b in zip(theirs, own, strict=True)]
    return different.index(True) if True in different else len(different)
