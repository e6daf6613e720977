"""Whole files of odd rows through `prepare`: a pair is the one that is meant, or its row is told; never silently another one."""

import contextlib
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from odd.preferences import LAYOUTS, better_by, meant_rows, odd_values
from odd.serruns import some
from odd.written import NUMBERS, TABLES, TEXT_FILES, TEXTS, as_table, cell

from ser_core.api.spec.data import DataSpec, SourceSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.data.preparing.pairs.spool import read_spool
from ser_core.data.preparing.preparation import prepare_data
from ser_core.data.reading.locations import Access
from ser_core.errors import DataError

REMOVED = re.compile("[\u200b\u2060\ufeff\u202d\u202e]")
"""Characters that docs/data-formats.md says are removed, and told."""
EXTRA = {
    "source": ["s", "", None],
    "n": [3, None],
    "note": [None, {"a": [1]}],
    "a.b": ["x"],
    "": [1, -7],
    "日本": [True],
    "nan": [1e308, float("nan")],
}
LABELS = ("better", "labels", "better_response_id", "winner", "overall_preference")


def prepared(name, content):
    """Pairs as (prompt, better answer, worse answer) with whether they are ties, and what is told."""
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        (Path(folder) / "work").mkdir()
        data = DataSpec(
            source=SourceSpec(uri=f"file://{folder}/{name}", seed_fraction=0.6, heldout_fraction=0.2), max_dropped_fraction=0.99
        )
        access = Access(StorageSpec(uri=f"file://{folder}/store"), HubSpec())
        made = prepare_data(data, 0, access, Path(folder) / "work", lambda *_: None, turns=False)
        positions = sorted(position for found in (*made.sides.values(), made.ties["seed"], made.ties["dev"]) for position in found)
        pairs = list(read_spool(made.spool, positions))
    return [in_order(pair.prompt, pair.answer_1, pair.answer_2, pair.better) for pair in pairs], made.metrics


def read(text):
    return REMOVED.sub("", text).strip()


def pair_of(meant, better=1):
    """With which of the two answers is better; 0 for a tie."""
    return in_order(read(meant.prompt), read(meant.chosen), read(meant.rejected), better)


def in_order(prompt, one, other, better):
    answers = (one, other) if better == 1 else (other, one) if better == 2 else sorted((one, other))
    return (prompt, *answers, better == 0)


def texts_in(value):
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return {read(value), *texts_in(json.loads(value))}
        return {read(value)}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for one in inner for text in texts_in(one)}


def number_of(pair):
    found = re.search(r"(?:question|right|wrong) (\d+) is", " ".join(pair[:3]))
    return int(found[1]) if found else None


class File:
    """What is drawn: a plain class, since Hypothesis prints dataclasses whole."""

    def __init__(self, layout, name, types, rows, meant, odd):
        self.layout, self.name, self.rows, self.meant = layout, name, rows, meant
        self.types = types
        """Of texts and of numbers, in a table."""
        self.odd = odd
        """By number of a row, which of its columns holds what instead."""

    def __repr__(self):
        return f"{self.layout} as {self.name} of {self.types}, odd: {self.odd}"

    def content(self):
        if self.name in TEXT_FILES:
            return TEXT_FILES[self.name](self.rows)
        return TABLES[self.name](as_table(self.rows, *self.types))


@st.composite
def files(draw):
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    meant = draw(meant_rows(layout))
    rows = [LAYOUTS[layout](one) for one in meant]
    for name, values in EXTRA.items():
        if draw(st.integers(0, 3)) == 0:
            for row in rows:
                row[name] = draw(st.sampled_from(values))
    odd = {number: draw(odd_values(LAYOUTS[layout](meant[number]))) for number in draw(st.sets(st.integers(0, 11), max_size=2))}
    for number, (column, value) in odd.items():
        rows[number] = {name: inner for name, inner in (rows[number] | {column: value}).items() if inner is not ...}
    rows += [rows[number] for number in draw(st.lists(st.integers(0, 11), max_size=2))]
    name = draw(st.sampled_from([name for name in (*TEXT_FILES, *TABLES) if (layout, name) != ("Nectar", "x.csv")]))
    return File(layout, name, draw(st.tuples(st.sampled_from(TEXTS), st.sampled_from(NUMBERS))), rows, meant, odd)


@some(60)
@given(file=files())
def test_a_pair_of_an_odd_file_is_the_one_that_is_meant_or_its_row_is_told(file):
    try:
        content = file.content()
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return  # no program could have written it
    try:
        pairs, metrics = prepared(file.name, content)
    except DataError as error:
        assert error.hint
        assert file.odd, error
        return
    assert metrics.rows == len(file.rows)
    assert len(pairs) + sum(metrics.dropped.values()) == len(file.rows), metrics
    odd = {number: (column, cell(value) if file.name == "x.csv" else value) for number, (column, value) in file.odd.items()}
    found = {number_of(pair): same(pair, file.name) for pair in pairs}
    for number, one in enumerate(file.meant):
        if number not in odd:
            assert found.get(number) == same(pair_of(one), file.name), metrics
        elif number in found:
            assert is_meant(found[number], one, *odd[number], file.name), metrics


def same(pair, name):
    """As text is read whose lines may end at CRLF; the other files have no lines inside of texts."""
    return tuple(re.sub("\r+\n", "\n", text) if name == "x.csv" and isinstance(text, str) else text for text in pair)


def is_meant(pair, meant, column, value, name):
    """Whether a pair is what may be made of a row with another value in this column."""
    if column in LABELS:
        better = better_by(column, value)
        return better is not None and pair == same(pair_of(meant, better if better == 0 or not meant.flip else 3 - better), name)
    expected = same(pair_of(meant), name)
    return (
        pair != expected and all(text in (one, *texts_in(value)) for text, one in zip(pair[:3], expected[:3], strict=True)) and not pair[3]
    )
