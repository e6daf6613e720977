"""Which layout a file has: by its columns, or as the specification names them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ser_core.api.spec.data import Columns
from ser_core.data.reading.formats import ACCEPTED, COLUMNS, Form, RawPair, to_pair
from ser_core.data.reading.layouts.guessing import corrected, guessed, nested
from ser_core.data.reading.layouts.layout import (
    MARGIN,
    WEIGHT,
    Fields,
    Layout,
    Strength,
    by_scores,
    renamed,
    strength_by_scores,
    strength_in,
)
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
"""The weight or margin of a pair that is the difference of its scores; a column of that name is meant first."""
_SEVERAL = ("responses", "answers", "completions", "outputs", "candidates", "generations")
_RANKS = ("ranks", "rank", "ranking", "rankings", "scores", "ratings", "rating", "rewards")
"""Columns with lists: of the answers to one prompt, and of how good each is."""
_ONE = (
    *({"messages"}, {"conversations"}, {"prompt", "completion"}, {"prompt", "response"}),
    *({"instruction", "output"}, {"question", "answer"}),
)
"""Columns of sets for fine-tuning."""
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
    by_difference = [key for key in ("weight", "margin") if _is_by_scores(names.get(key), names, present)]
    weight, margin = (_strength(kind, names, by_difference) for kind in (WEIGHT, MARGIN))
    names = {key: column for key, column in names.items() if key not in by_difference}
    keys = {_INSTEAD.get(key, key): column for key, column in names.items() if not key.startswith("score")}
    scored = {"score_1", "score_2"} <= names.keys()
    there = keys.keys() | ({"better"} if scored else set())
    form = next((form for form, needed in COLUMNS.items() if there >= set(needed)), None)
    if form is None:
        return None
    _refuse_two_ways(names, form, scores_read=bool(by_difference), field=field)

    def pairs(fields: Fields) -> list[dict[str, Any]]:
        better = {"better": by_scores(names["score_1"], names["score_2"])(fields)} if scored else {}
        return [renamed(fields, keys) | better]

    used = frozenset(names.values())
    return Layout("", used, form, pairs, id=names.get("id", ""), weight=weight, margin=margin, by_scores=scored, names=keys)


def _refuse_two_ways(names: dict[str, str], form: Form, *, scores_read: bool, field: str) -> None:
    """Refuse columns that say twice which answer is better: one of the two would not be read."""
    if form is Form.LABELED_ANSWERS:
        unread = ["better"] if "score_1" in names else []
    elif form in (Form.EXPLICIT, Form.IMPLICIT):
        unread = ["response_1", "response_2", "better", *(() if scores_read else ("score_1", "score_2"))]
    else:
        unread = []
    if twice := [key for key in unread if key in names]:
        read = "score_1 and score_2" if form is Form.LABELED_ANSWERS else "chosen and rejected"
        raise DataError(
            f"{field}.columns names {read}, which say which answer is better, and also {', '.join(twice)}",
            reason="UnusedColumn",
            hint=f"leave out {', '.join(twice)}, or {read}",
        )


def _is_by_scores(column: str | None, names: dict[str, str], present: set[str]) -> bool:
    """Whether the word for the difference of the two scores is meant, which is no column."""
    return column == _BY_SCORES and column not in present and {"score_1", "score_2"} <= names.keys()


def _strength(kind: Strength, names: dict[str, str], by_difference: list[str]) -> Callable[[Fields], float | None] | None:
    if kind.key in by_difference:
        return strength_by_scores(names["score_1"], names["score_2"], kind)
    return strength_in(names[kind.key], kind) if kind.key in names else None


def _correction(given: Columns | None, present: set[str], field: str) -> str:
    kind = (
        None if given is None or given.score_1 else next((one for one in (WEIGHT, MARGIN) if getattr(given, one.key) == _BY_SCORES), None)
    )
    if kind is not None:
        those = f"whose difference is then the {kind.key}; or a column of {kind.key}s that is there"
        return f"name score_1 and score_2 in {field}.columns, {those}"
    names = {} if given is None else given.model_dump(exclude_none=True)
    if inside := nested(names, present):
        return f"a name means a whole column: write the rows anew with one column for each of {', '.join(inside)}"
    better = corrected(names, present)
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
    if ranked := next(((answers, ranks) for answers in _SEVERAL for ranks in _RANKS if {answers, ranks} <= present), None):
        lists = f"of rows with a list in {ranked[0]} and one in {ranked[1]}"
        return f"{lists}, write pairs: of each prompt the best answer as chosen and each worse one as rejected"
    guess = guessed(present)
    say = f"say which column holds what in {field}.columns" if guess is None else f"write {columns_line(field, guess)}, if they hold that"
    alone = "; rows with one answer each, as for fine-tuning, make no pairs" if guess is None and any(map(present.issuperset, _ONE)) else ""
    return f"{say}; or rename columns to one of: {ACCEPTED}{alone}"


def read_pairs(fields: Fields, layout: Layout) -> list[RawPair]:
    """The pairs in one row; several only where its answers are ranked or rated.

    Raises:
        RowError: As of `to_pair`; ``NoRanking``, ``SeveralTurns``, ``OtherSplit``, ``BadWeight`` or ``BadMargin``.
    """
    weight, margin = (None if strength is None else strength(fields) for strength in (layout.weight, layout.margin))
    return [replace(to_pair(pair, layout.form, layout.names), weight=weight, margin=margin) for pair in layout.pairs(fields)]
