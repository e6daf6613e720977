"""What is said when a side of the split would have too few pairs: of how many, and what gives it more."""

from collections import Counter
from collections.abc import Sequence

from ser_core.api.spec.data import DataSpec
from ser_core.counted import by_column, counted
from ser_core.data.preparing.pairs.validation import Entry
from ser_core.data.preparing.splitting import Group
from ser_core.errors import DataError

MIN_PAIRS = 2
"""Pairs that every side needs."""

_DOMINANT = 0.5
"""Share of the pairs from which on one group decides what the sides can be."""

_FRACTIONS = {
    "heldout": "raise data.source.heldoutFraction",
    "seed": "raise data.source.seedFraction",
    "dev": "raise data.devFraction or data.source.seedFraction",
    "pool": "lower data.source.seedFraction or heldoutFraction",
}


def too_few(data: DataSpec, side: str, count: int, entries: Sequence[Entry], groups: Sequence[Group], dropped: Counter[str]) -> DataError:
    """The error for a side with less than `MIN_PAIRS` pairs.

    Args:
        data: What was split.
        side: Which one it is.
        count: Its pairs.
        entries: The usable rows that it was made of: all, or those of its own file where there are three.
        groups: The groups of these.
        dropped: Their rows that cannot be used, by reason.
    """
    ties = sum(entry.is_tie for entry in entries)
    labelled, tied = len(entries) - ties, dropped["Tie"] + ties
    left_out = f"; dropped: {', '.join(f'{reason} {rows}' for reason, rows in dropped.most_common())}" if dropped else ""
    usable = f"{counted(labelled, 'usable pair')}" if not tied else f"{counted(labelled, 'usable pair')} besides {counted(tied, 'tie')}"
    hint = _of_source(data.source.split_by, side, entries, groups) if data.source else _of_file(data.group_by, side, groups)
    if tied > labelled:
        hint = "no answer of a tie is better: give pairs with a better answer" + (f"; or {hint}" if labelled else "")
    elif not entries:
        hint = "no row makes a pair: docs/data-formats.md says why a row is dropped; name other columns, or another file"
    where = "" if data.source else f" of data.{file_of(side)}"
    return DataError(
        f"{side} would have {count} of {usable}{where} in {counted(len(groups), 'group')}, at least {MIN_PAIRS} are needed{left_out}",
        reason="TooFewRows",
        hint=hint,
    )


def _of_source(split_by: str, side: str, entries: Sequence[Entry], groups: Sequence[Group]) -> str:
    largest, total = max((len(group.members) for group in groups), default=0), len(entries)
    of_prompt = max(Counter(entry.prompt for entry in entries).values(), default=0)
    smaller = "a data.source.splitBy that makes smaller groups"
    shared, remedy = ("prompt", "give pairs of more prompts") if largest == of_prompt else (split_by, f"give {smaller}")
    if largest <= _DOMINANT * total and len(groups) < len(_FRACTIONS):
        return f"pairs that share their {shared} stay on one side, and there are {len(_FRACTIONS)} sides: {remedy}"
    if largest <= _DOMINANT * total:
        remedies = [_FRACTIONS[side], "give more pairs", *([smaller] if largest > of_prompt else [])]
        return ", or ".join(remedies)
    hint = f"one group has {largest} of {total} pairs, which share their {shared} and stay on one side: {remedy}"
    others = total - largest
    if others < (len(_FRACTIONS) - 1) * MIN_PAIRS:
        return hint
    return f"{hint}, or lower data.source.seedFraction and heldoutFraction so far that the other {others} pairs fill both"


def _of_file(split_by: str, side: str, groups: Sequence[Group]) -> str:
    hint = f"give more pairs in data.{file_of(side)}"
    if side not in ("seed", "dev"):
        return hint
    one, by = ("prompt", "") if split_by == "prompt" else ("group", by_column(split_by))
    hint = f"{hint}, of more {one}s{by}: pairs of one {one} stay together, and the dev part is split off the seed"
    return f"{hint}; or {'raise' if side == 'dev' else 'lower'} data.devFraction" if len(groups) >= 2 * MIN_PAIRS else hint


def file_of(side: str) -> str:
    """The field of `data` that a side comes from, where there are three files."""
    return {"dev": "seed", "pool": "unlabeled"}.get(side, side)
