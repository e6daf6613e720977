"""A labelled file in which the same side always wins: its labels are one constant, and say nothing."""

from collections import Counter
from collections.abc import Collection, Mapping

from ser_core.data.reading.files.rows import BadRow
from ser_core.data.reading.layouts.writing import columns_line, keys_of
from ser_core.errors import DataError

_FEWEST_ROWS = 20
"""Fewer labels may all be the same by chance."""
_SCORES = ("score_1", "score_2")


def check_labels_vary(
    counts: Counter[int | None],
    name: str,
    bad_label: BadRow | None,
    names: Mapping[str, str],
    there: Collection[str],
    field: str,
) -> None:
    """Refuse a labelled file in which the same side always wins.

    Args:
        counts: Rows by the value of ``better``; 0 are ties, None those without a label.
        name: Name of the file.
        bad_label: Its first row whose label is neither 1 nor 2; then that is the reason, as where the labels are 0 and 1.
        names: Column of the file by column of the form; empty where a public set's layout does more than rename.
        there: All columns of the file.
        field: Of the specification, such as ``data.source``.

    Raises:
        DataError: ``OneSidedLabels`` or ``BadLabel``.
    """
    labelled = counts[1] + counts[2]
    if labelled < _FEWEST_ROWS or (counts[1] and counts[2]):
        return
    side = 1 if counts[1] else 2
    first, second, label = (names.get(key, key) for key in ("answer_1", "answer_2", "better"))
    if bad_label is not None:
        raise DataError(
            f"{bad_label.file}, line {bad_label.line}: {bad_label.detail}; all other labels are {side}",
            reason="BadLabel",
            hint=f"write {label} as 1 where {first} is the better answer, and as 2 where {second} is" if names else "check the export",
        )
    what = f"{label} is {side}" if names else f"the {'first' if side == 1 else 'second'} answer is the better one"
    hint = _hint(side, counts[0] + counts[None], names, there, field)
    raise DataError(f"{name}: {what} in all {labelled} labelled rows", reason="OneSidedLabels", hint=hint)


def _hint(side: int, others: int, names: Mapping[str, str], there: Collection[str], field: str) -> str:
    if not names:
        return (
            f"check the export; if it is so, write the pairs with the columns chosen and rejected{', without the ties' if others else ''}"
        )
    keys = keys_of(names, there)
    label = keys.pop("better")
    if set(_SCORES) <= set(there):
        scores = columns_line(field, keys | dict(zip(_SCORES, _SCORES, strict=True)))
        return f"check the export; if the scores say which answer is better, write {scores}"
    better, worse = keys.pop(f"response_{side}"), keys.pop(f"response_{3 - side}")
    line = columns_line(field, keys | {"chosen": better, "rejected": worse})
    if others:
        first = f"if {better} is the better one in all other rows, remove the {others} rows whose {label} is not {side}"
        return f"check the export; {first}, and write {line}"
    return f"check the export; if {better} is always the better one, write {line}"
