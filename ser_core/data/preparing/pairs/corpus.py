"""Reading every part of the data: rows become usable pairs on disk, plus what is needed to compare and split them."""

import contextlib
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

from ser_core.api.spec.data import FOUND_IN_PROMPTS, Columns
from ser_core.data.preparing.pairs.concerns import SCORES, STRENGTHS, Answers, scores_contradict, unused_labels, unused_strengths
from ser_core.data.preparing.pairs.later_rows import LaterRows
from ser_core.data.preparing.pairs.one_object import refuse_one_object
from ser_core.data.preparing.pairs.one_sided import check_labels_vary
from ser_core.data.preparing.pairs.spool import PairSpool
from ser_core.data.preparing.pairs.text import digest, is_usable, normal_form, shown
from ser_core.data.preparing.pairs.unused import LOOKED_AT, refuse_unused_dialogue, refuse_unused_question
from ser_core.data.preparing.pairs.validation import Entry, Pair, Tally, check_pair
from ser_core.data.reading.dialogues.turns import first_user_turn
from ser_core.data.reading.files.readers import Container, columns_of, detect, extension_of, read_rows
from ser_core.data.reading.files.rows import BadRow, DataFile, Row, RowError
from ser_core.data.reading.formats import Form, RawPair, describe
from ser_core.data.reading.layouts.finding import USED_COLUMNS, find_layout, read_pairs
from ser_core.data.reading.layouts.layout import Layout
from ser_core.data.reading.layouts.writing import columns_line, keys_of
from ser_core.data.reading.sources import Source
from ser_core.data.taking import characters_in, take
from ser_core.errors import DataError

SAMPLE_ROWS = 100
"""Rows from which the columns of a file are learnt."""
_WHOLE = re.compile(r"\s*(-?\d+)\.0+\s*")
_NEEDED_ROWS = {"source": 8, "seed": 4, "unlabeled": 2, "heldout": 2}
"""Two for each of the parts that are split from it."""


@dataclass(slots=True)
class Corpus:
    """All usable pairs of a run; filled by `read_part`, then only read."""

    spool: PairSpool
    turns: bool
    """Whether prompts keep the marks of their turns."""
    entries: list[Entry] = field(default_factory=list)
    """By position in the spool."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    """By part."""
    found: dict[str, str] = field(default_factory=dict)
    """By part, what its files turned out to be."""
    remarks: Counter[str] = field(default_factory=Counter)
    """Pairs by what is odd about their text; ``longer`` and ``shorter`` count which answer won."""
    answers: Answers = field(default_factory=Answers)
    notes: set[str] = field(default_factory=set)
    """What was normalised or recognised against its name."""
    told: list[str] = field(default_factory=list)
    """What else is to be told of the files."""


@dataclass(frozen=True, slots=True)
class PartReader:
    """How one part (source, seed, unlabeled, heldout) is read."""

    part: str
    source: Source
    columns: Columns | None
    """Names of the columns, where the specification gives them."""
    split_by: str
    corpus: Corpus

    @property
    def field(self) -> str:
        """The part's field of the specification."""
        return f"data.{self.part}"

    def read(self, max_dropped_fraction: float, position: Callable[[int], None]) -> None:
        """Read all files of the part into the corpus.

        Raises:
            DataError: A file cannot be read, its columns are unknown, or too many rows are unusable.
        """
        tally = self.corpus.tallies.setdefault(self.part, Tally(self.field, _NEEDED_ROWS[self.part]))
        kinds: Counter[str] = Counter()
        done = 0
        names = self.source.names()
        for file in self.source.files:
            container = detect(file)
            self._note_name(file, container)
            rows = read_rows(file, container, beginning_at(done, position), self.corpus.notes, self._wanted())
            kinds[self._read_file(file, container, rows, tally, names[file.name])] += 1
            done += file.path.stat().st_size
        if tally.rows == 0:
            raise DataError(f"{self.source.uri} holds no rows", reason="DataEmpty", hint="check that the upload or export was complete")
        tally.check(max_dropped_fraction)
        count = f"{len(self.source.files)} files, " if len(self.source.files) > 1 else ""
        self.corpus.found[self.part] = count + " and ".join(kind for kind, _ in kinds.most_common() if kind)

    def _wanted(self) -> set[str]:
        given = self.columns.model_dump(exclude_none=True).values() if self.columns else (*LOOKED_AT, *STRENGTHS)
        return {*USED_COLUMNS, *chain(*SCORES), self.split_by, *given}

    def _note_name(self, file: DataFile, container: Container) -> None:
        kind, compression = extension_of(file.name)
        if (
            container.kind != "empty"
            and kind is not None
            and (kind, compression) != (container.kind, container.compression)
            and (kind, container.kind) != ("json", "jsonl")
        ):
            self.corpus.notes.add(f"{file.name} holds {container}")

    def _read_file(self, file: DataFile, container: Container, rows: Iterator[Row | BadRow], tally: Tally, default_source: str) -> str:
        head = first_rows(rows)
        any_rows = bool(head)
        while head and not any(isinstance(row, Row) for row in head):
            for row in head:
                self._drop(row, tally)
            head = first_rows(rows)
        sample = [row for row in head if isinstance(row, Row)]
        if not sample:
            return str(container) if any_rows else ""
        columns = columns_of(file, container) or tuple(dict.fromkeys(name for row in sample for name in row.fields))
        found = layout = self._layout(file, columns, sample, container)
        self._check_split_column(columns)
        if self.columns is None:
            if layout.form is Form.UNLABELED_ANSWERS:  # labels may begin behind the first rows
                layout = find_layout((*columns, "better"), file.name, None, labels_needed=False)
            rows = self._refusing(rows, sample, columns, layout)
            self.corpus.told += [*unused_strengths(sample, layout, self.field), *unused_labels(sample, layout)]
        if any(isinstance(raw, RowError) for raw in _raw_pairs(sample[0], layout)):
            refuse_one_object(sample)
        self._read_rows(chain(head, rows), layout, file, tally, layout.columns.union(columns), default_source)
        known = f" as of {found.name}" if found.name else ""
        return f"{container}, {describe(found.form, _pairs_of(sample, found))}{known}"

    def _refusing(
        self, rows: Iterator[Row | BadRow], sample: Sequence[Row], columns: Collection[str], layout: Layout
    ) -> Iterator[Row | BadRow]:
        """The rows behind the first ones. All are looked at for something that looks like a part of the question and is not used."""
        line = partial(columns_line, self.field, first=columns)
        refuse = partial(refuse_unused_question, layout=layout, line=line)
        for row in sample:
            refuse(row, columns)
        refuse_unused_dialogue(sample, columns, layout, line)
        named = keys_of(layout.names, columns)
        return LaterRows(sample, columns, layout.used, layout, refuse, line(named) if named else "").checked(rows)

    def _layout(self, file: DataFile, columns: Iterable[str], sample: list[Row], container: Container) -> Layout:
        try:
            return find_layout(columns, file.name, self.columns, labels_needed=self.part != "unlabeled", field=self.field)
        except DataError as error:
            refuse_one_object(sample)
            hint = error.hint
            if container.kind == "csv" and error.reason == "UnknownColumns":
                hint = f"{hint}; the first line of a CSV names its columns: add that line, if it is missing"
            if len(self.source.files) > 1:
                hint = f"{hint}; if it is no data, {self.field}.path names the file or folder that is"
            raise DataError(error.message, reason=error.reason, hint=hint) from error

    def _check_split_column(self, columns: Iterable[str]) -> None:
        if self.split_by not in (*FOUND_IN_PROMPTS, *columns):
            there = ", ".join(map(repr, columns))
            field = "data.source.splitBy" if self.part == "source" else "data.splitBy"
            raise DataError(
                f"{field} is {self.split_by!r}, but {self.source.uri} has the columns {there}",
                reason="MissingColumn",
                hint="name one of these, prompt or firstTurn",
            )

    def _read_rows(
        self,
        rows: Iterable[Row | BadRow],
        layout: Layout,
        file: DataFile,
        tally: Tally,
        columns: Collection[str],
        default_source: str,
    ) -> None:
        betters: Counter[int | None] = Counter()
        ids: dict[str, str] = {}
        bad_label: BadRow | None = None
        for row in rows:
            if isinstance(row, BadRow):
                self._drop(row, tally)
                continue
            self._compare_scores(row, layout)
            for raw in _raw_pairs(row, layout):
                tally.rows += 1
                try:
                    if isinstance(raw, RowError):
                        raise raw
                    labelled = self._with_label(raw)
                    pair, remarks = check_pair(labelled, _source_of(row.fields, default_source), turns=self.corpus.turns)
                    entry = self._entry(pair, row)
                except RowError as error:
                    dropped = error.at(row.file, row.line)
                    bad_label = bad_label or (dropped if dropped.reason == "BadLabel" else None)
                    betters[0] += dropped.reason == "Tie"
                    tally.drop(dropped)
                    continue
                if layout.makes_one_pair:
                    _check_id(row, layout.id, pair.id, ids, self.field)
                betters[labelled.better] += 1
                self._keep(pair, entry, (name for name in remarks.__slots__ if getattr(remarks, name)))
        if layout.form is Form.LABELED_ANSWERS and not layout.by_scores:
            check_labels_vary(betters, file.name, bad_label, layout.names, columns, self.field)

    def _compare_scores(self, row: Row, layout: Layout) -> None:
        given = self.columns
        named = [(given.score_1, given.score_2)] if given and given.score_1 and given.score_2 else []
        contradict = None if layout.form is Form.LABELED_ANSWERS else scores_contradict(row.fields, named)
        if contradict is not None:
            self.corpus.remarks["scores_contradict" if contradict else "scores_agree"] += 1

    def _with_label(self, raw: RawPair) -> RawPair:
        if self.part == "unlabeled":
            return replace(raw, better=raw.better or None)
        if raw.better == 0 and self.part == "heldout":
            raise RowError("Tie", "none of the two answers is better")
        if raw.better is None:
            raise RowError("BadLabel", "better is empty: write 1, 2 or tie, or remove the row")
        return raw

    def _drop(self, row: Row | BadRow, tally: Tally) -> None:
        if isinstance(row, BadRow):
            tally.rows += 1
            tally.drop(row)

    def _entry(self, pair: Pair, row: Row) -> Entry:
        prompt = digest("prompt", normal_form(pair.prompt))
        group = prompt
        if self.split_by == "firstTurn":
            group = digest("firstTurn", normal_form(first_user_turn(pair.prompt)))
        elif self.split_by != "prompt":
            value: Any = row.fields.get(self.split_by)
            if _is_missing(value):
                raise RowError("MissingField", f"{self.split_by}, the column to split by, is empty")
            if not is_usable(str(value)):
                raise RowError("InvalidUnicode", f"{self.split_by}, the column to split by, holds a lone surrogate or a NUL character")
            group = digest("column", normal_form(_as_text(value)))
        content = digest(pair.prompt, pair.answer_1, pair.answer_2, pair.source) + f"{pair.weight} {pair.margin}".encode()
        return Entry(pair.id, self.part, prompt, group, content, pair.better, row.file, row.line)

    def _keep(self, pair: Pair, entry: Entry, remarks: Iterable[str]) -> None:
        self.corpus.spool.append(pair)
        self.corpus.entries.append(entry)
        self.corpus.remarks.update(remarks)
        if pair.better:
            self.corpus.answers.add(*((pair.answer_1, pair.answer_2) if pair.better == 1 else (pair.answer_2, pair.answer_1)))
            difference = len(pair.answer_1) - len(pair.answer_2)
            length = "equally long" if not difference else "longer" if (difference > 0) == (pair.better == 1) else "shorter"
            self.corpus.remarks[length] += 1


def first_rows(rows: Iterator[Row | BadRow], most: int = SAMPLE_ROWS) -> list[Row | BadRow]:
    """The next ``most`` rows, or fewer with much text."""
    return take(rows, most, lambda row: characters_in(row.fields) if isinstance(row, Row) else 0)


def beginning_at(done: int, position: Callable[[int], None]) -> Callable[[int], None]:
    """``position``, told of what is read after the first ``done``."""
    return lambda read: position(done + read)


def _as_text(value: Any) -> str:
    """A value to split by. Numbers beside empty cells are 1.0 in tables, also as text, since whole ones have no place there."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    whole = _WHOLE.fullmatch(str(value))
    return whole[1] if whole else str(value)


def _source_of(fields: Mapping[str, Any], default: str) -> str:
    value = fields.get("source")
    return value if isinstance(value, str) and value.strip() else default


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _raw_pairs(row: Row, layout: Layout) -> list[RawPair] | list[RowError]:
    try:
        return read_pairs(row.fields, layout)
    except RowError as error:
        return [error]


def _pairs_of(rows: Iterable[Row], layout: Layout) -> list[dict[str, Any]]:
    """The columns of the form, of the rows that can be read."""
    found = []
    for row in rows:
        with contextlib.suppress(RowError):
            found += layout.pairs(row.fields)
    return found


def _check_id(row: Row, column: str, pair_id: str, ids: dict[str, str], field: str) -> None:
    name = row.fields.get(column)
    if not _is_missing(name) and ids.setdefault(str(name), pair_id) != pair_id:
        raise DataError(
            f"{row.file}, line {row.line}: {column} {shown(str(name))} belongs to different pairs",
            reason="ConflictingIds",
            hint=f"ids must be unique; rename the column if it does not identify the row, or name the others in {field}.columns",
        )
