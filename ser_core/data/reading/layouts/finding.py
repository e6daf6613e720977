"""Which layout a file has: by its columns, or as the specification names them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ser_core.api.spec.data import Columns
from ser_core.data.reading.formats import ACCEPTED, COLUMNS, Form, RawPair, to_pair
from ser_core.data.reading.layouts.guessing import corrected, guessed
from ser_core.data.reading.layouts.layout import Fields, Layout, by_scores, renamed, weight_by_scores, weight_in
from ser_core.data.reading.layouts.public_sets import KNOWN
from ser_core.data.reading.layouts.writing import columns_line
from ser_core.errors import DataError


def _form_itself(form: Form) -> Layout:
    return Layout(
        "", frozenset(COLUMNS[form]), form, lambda fields: [dict(fields)], names={name: name for name in (*COLUMNS[form], "system")}
    )


_LAYOUTS = (*KNOWN, *map(_form_itself, Form))
_IN_EVERY_ONE = frozenset({"id", "source"})
USED_COLUMNS = _IN_EVERY_ONE.union(*(layout.used for layout in _LAYOUTS))
"""Every column that may be read, those aside that a specification names."""
_NAMED = "chosen, rejected (and prompt); prompt, response_1, response_2 with better, or with score_1 and score_2"
_BY_SCORES = "scores"
"""The weight of a pair that is the difference of its scores; a column of that name is meant first."""
_INSTEAD = {"response_1": "answer_1", "response_2": "answer_2"}


def find_layout(columns: Iterable[str], name: str, given: Columns | None, *, labels_needed: bool, field: str = "data.source") -> Layout:
    """What the columns of a file make.

    Args:
        columns: Names that occur in the first rows.
        name: Name of the file, for messages.
        given: Names that the specification gives; None to recognise them.
        labels_needed: True for everything but an unlabeled file.
        field: Of the specification, for messages.

    Raises:
        DataError: ``UnknownColumns`` with the columns found and the accepted forms, ``MissingColumn`` or ``NoLabels``.
    """
    present = set(columns)
    layout = next((one for one in _LAYOUTS if present >= one.columns), None) if given is None else _given(given, present, field)
    found = ", ".join(sorted(map(repr, present))[:20])
    if layout is None:
        what = f"{name} has the columns {found}" if given is None else f"the columns that {field}.columns names make no pair"
        raise DataError(what, reason="UnknownColumns", hint=_hint(present, field) if given is None else f"name all of one of: {_NAMED}")
    if missing := sorted(layout.columns - present):
        what = f"{name} has the columns {found}, and not {', '.join(map(repr, missing))}, which {field}.columns names"
        raise DataError(what, reason="MissingColumn", hint=_correction(given, present, field))
    if layout.form is Form.UNLABELED_ANSWERS and labels_needed:
        add = "add a column better with 1 or 2" if given is None else f"name that of the labels in {field}.columns, as better"
        raise DataError(
            f"{name} has a prompt and two answers but no labels",
            reason="NoLabels",
            hint=f"{add}, or give the file as data.unlabeled",
        )
    return layout


def _given(columns: Columns, present: set[str], field: str) -> Layout | None:
    names = columns.model_dump(exclude_none=True)
    weight = _weight(names, present)
    keys = {_INSTEAD.get(key, key): column for key, column in names.items() if not key.startswith("score")}
    scored = {"score_1", "score_2"} <= names.keys()
    there = keys.keys() | ({"better"} if scored else set())
    form = next((form for form, needed in COLUMNS.items() if there >= set(needed)), None)
    if form is None:
        return None
    _refuse_two_ways(names, form, by_weight=weight is not None and "weight" not in names, field=field)

    def pairs(fields: Fields) -> list[dict[str, Any]]:
        better = {"better": by_scores(names["score_1"], names["score_2"])(fields)} if scored else {}
        return [renamed(fields, keys) | better]

    return Layout("", frozenset(names.values()), form, pairs, id=names.get("id", ""), weight=weight, by_scores=scored, names=keys)


def _refuse_two_ways(names: dict[str, str], form: Form, *, by_weight: bool, field: str) -> None:
    """Refuse columns that say twice which answer is better: one of the two would not be read."""
    if form is Form.LABELED_ANSWERS:
        unread = ["better"] if "score_1" in names else []
    elif form in (Form.EXPLICIT, Form.IMPLICIT):
        unread = ["response_1", "response_2", "better", *(() if by_weight else ("score_1", "score_2"))]
    else:
        unread = []
    if twice := [key for key in unread if key in names]:
        read = "score_1 and score_2" if form is Form.LABELED_ANSWERS else "chosen and rejected"
        raise DataError(
            f"{field}.columns names {read}, which say which answer is better, and also {', '.join(twice)}",
            reason="UnusedColumn",
            hint=f"leave out {', '.join(twice)}, or {read}",
        )


def _weight(names: dict[str, str], present: set[str]) -> Callable[[Fields], float | None] | None:
    """What weighs the pairs, which is no column of the form: it is taken out of ``names``."""
    column = names.get("weight")
    if column == _BY_SCORES and column not in present and {"score_1", "score_2"} <= names.keys():
        del names["weight"]
        return weight_by_scores(names["score_1"], names["score_2"])
    return None if column is None else weight_in(column)


def _correction(given: Columns | None, present: set[str], field: str) -> str:
    if given is not None and given.weight == _BY_SCORES and given.score_1 is None:
        return f"name score_1 and score_2 in {field}.columns, whose difference is then the weight; or a column of weights that is there"
    better = None if given is None else corrected(given.model_dump(exclude_none=True), present)
    return (
        f"name columns that are there in {field}.columns" if better is None else f"write {columns_line(field, better)}, if these are meant"
    )


def _hint(present: set[str], field: str) -> str:
    if {"message_id", "parent_id", "text"} <= present:
        return "of Open Assistant's data, name the file of trees (oasst_ready.trees.jsonl.gz)"
    if {"prompt", "response", "helpfulness"} <= present:
        return "of HelpSteer2, name the file preference/preference.jsonl.gz"
    if {"prompt", "completion", "label"} <= present:
        return "of rows with one rated answer each (KTO), write pairs: of each prompt a good answer as chosen and a bad one as rejected"
    guess = guessed(present)
    say = f"say which column holds what in {field}.columns" if guess is None else f"write {columns_line(field, guess)}, if they hold that"
    return f"{say}; or rename columns to one of: {ACCEPTED}"


def read_pairs(fields: Fields, layout: Layout) -> list[RawPair]:
    """The pairs in one row; several only where its answers are ranked or rated.

    Raises:
        RowError: As of `to_pair`; ``NoRanking``, ``SeveralTurns``, ``OtherSplit`` or ``BadWeight``.
    """
    weight = None if layout.weight is None else layout.weight(fields)
    return [replace(to_pair(pair, layout.form, layout.names), weight=weight) for pair in layout.pairs(fields)]
