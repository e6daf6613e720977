"""Two runs beside each other: what differs in their specs, the results of each loop, and whether the difference may be chance."""

import tempfile
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser_core.api.serrun import SERRun
from ser_core.api.stage import PrepareMetrics
from ser_core.api.status import IterationStatus
from ser_core.cli.access.stored_run import StoredRun
from ser_core.errors import QualityError, SpecError, StoreError
from ser_core.learn.evaluation.groups.comparable import Answers, joined_groups, why_incomparable
from ser_core.learn.evaluation.groups.difference import PairedDifference
from ser_core.loop.deciding.significance import FEW_GROUPS

SEED, BEST = "seed", "best"
_FORGED = ("CorruptObject", "InputChanged", "ManifestDeleted")
"""Reasons of errors that say that what is compared is not what the run has made."""


@dataclass(frozen=True, slots=True)
class SpecDifference:
    """One field that differs between the two specs; None: left out."""

    field: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class LoopPair:
    """One loop of both runs."""

    name: str
    a: IterationStatus | None
    """None: that run has not made this loop."""
    b: IterationStatus | None
    difference: PairedDifference | None
    """b − a in held-out accuracy; None: not computable."""


@dataclass(frozen=True, slots=True)
class RunsCompared:
    """Everything that `ser diff` shows."""

    a: SERRun
    b: SERRun
    differences: tuple[SpecDifference, ...]
    budgets: tuple[PrepareMetrics | None, PrepareMetrics | None]
    """What `prepare` made of the data; None: not known."""
    loops: tuple[LoopPair, ...]
    """The seed models, the loops, and last the best reward models."""
    note: str
    """What the p-values rest on, or why there are none."""


@dataclass(frozen=True, slots=True)
class _Results:
    """What the store of a run says beyond its status."""

    prepared: PrepareMetrics | None = None
    right: Mapping[int, Mapping[str, bool]] | None = None
    """By iteration and held-out pair, whether the reward model is right."""
    groups: Mapping[str, str] | None = None
    """Group of each labelled pair; None: not known, so each pair counts for itself."""
    answers: Answers = field(default_factory=dict)
    problem: str = ""


def compare_runs(a: StoredRun, b: StoredRun) -> RunsCompared:
    """Two runs beside each other. Their stores are read where they can be."""
    of_a, of_b = _results(a), _results(b)
    note = of_a.problem or of_b.problem or _same_pairs(of_a, of_b)
    groups = joined_groups(_pairs(of_a), [of_a.groups or {}, of_b.groups or {}])
    loops = tuple(_loops(a.run, b.run, of_a if not note else _Results(), of_b if not note else _Results(), groups))
    told = note or _rests_on(groups)
    return RunsCompared(a.run, b.run, tuple(spec_differences(a.run, b.run)), (of_a.prepared, of_b.prepared), loops, told)


def spec_differences(a: SERRun, b: SERRun) -> Iterator[SpecDifference]:
    """Every field in which the specs of the runs differ, by its full path."""
    of_a, of_b = (dict(_leaves("", run.spec.model_dump(mode="json", by_alias=True))) for run in (a, b))
    for path in [*of_a, *(path for path in of_b if path not in of_a)]:
        if of_a.get(path) != of_b.get(path):
            yield SpecDifference(path, of_a.get(path), of_b.get(path))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}".removeprefix("."), inner)
    elif value is not None:
        yield path, value


def _loops(a: SERRun, b: SERRun, of_a: _Results, of_b: _Results, groups: Mapping[str, str]) -> Iterator[LoopPair]:
    rows_a, rows_b = ({row.iteration: row for row in run.status.iterations} for run in (a, b))
    for iteration in sorted(rows_a.keys() | rows_b.keys()):
        name = str(iteration) if iteration else SEED
        yield LoopPair(name, rows_a.get(iteration), rows_b.get(iteration), _difference(of_a, iteration, of_b, iteration, groups))
    best_a, best_b = a.status.best_iteration, b.status.best_iteration
    if best_a is not None and best_b is not None:
        yield LoopPair(BEST, rows_a.get(best_a), rows_b.get(best_b), _difference(of_a, best_a, of_b, best_b, groups))


def _difference(of_a: _Results, a: int, of_b: _Results, b: int, groups: Mapping[str, str]) -> PairedDifference | None:
    from ser_core.learn.evaluation.groups.bootstrap import difference_of

    if not of_a.right or not of_b.right or a not in of_a.right or b not in of_b.right:
        return None
    return difference_of(of_b.right[b], of_a.right[a], groups)


def _rests_on(known: Mapping[str, str]) -> str:
    pairs, groups = len(known), len(set(known.values()))
    where = f"{pairs:,} held-out pairs" + (f" in {groups:,} groups" if groups < pairs else "")
    few = f"; of fewer than {FEW_GROUPS} groups it is not to be trusted" if groups < FEW_GROUPS else ""
    return f"p: signs of the differences flipped in all ways, {where}; not corrected for several comparisons{few}"


def _same_pairs(of_a: _Results, of_b: _Results) -> str:
    """Why the held-out pairs of the two runs cannot be compared one by one; empty: they can."""
    a, b = _pairs(of_a), _pairs(of_b)
    if not a or not b:
        return "no test: a run has no evaluated reward model yet"
    why = why_incomparable(a, b, of_a.answers, of_b.answers)
    return f"no test, and {why}" if why else ""


def _pairs(of: _Results) -> Set[str]:
    return next(iter((of.right or {}).values()), {}).keys()


def _results(stored: StoredRun) -> _Results:
    from ser_core.report import heldout
    from ser_core.report.copies import Copies
    from ser_core.report.ledger import read_ledger

    try:
        ledger = read_ledger(stored.store, stored.run)
        prepared = None if ledger.prepared is None else ledger.prepared.metrics
        with tempfile.TemporaryDirectory(prefix="ser-diff-") as folder:
            copies = Copies(stored.store, Path(folder))
            right = {record.key.iteration: heldout.read_right(copies, record) for record in ledger.models}
            groups = heldout.read_groups(copies, ledger)
            answers = heldout.read_answers(copies, ledger)
        return _Results(prepared, right, groups, answers)
    except (StoreError, SpecError, QualityError) as error:
        if error.reason in _FORGED:
            raise
        return _Results(problem=f"no test and no label budget: the store of {stored.target} cannot be read: {error.message}")
