"""Rows and files that nobody thought of: read right, or refused with a reason, and never a traceback. The oracles are plain parsers."""

import csv
import io
import json
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from odd.serruns import some as some_of
from unit.data.reading.layouts.test_public_sets import SETS

from ser_core.data.preparing.pairs.validation import check_pair
from ser_core.data.reading.files.readers import detect, read_rows
from ser_core.data.reading.files.rows import DataFile, Row, RowError
from ser_core.data.reading.layouts.finding import USED_COLUMNS, find_layout, read_pairs
from ser_core.errors import DataError

words = some.text(max_size=12) | some.sampled_from(
    ["Human:", "\n\nHuman: a\n\nAssistant: b", "System: x", "[{'role': 1}]", '[{"role": "user"}]', "tie", "1"]
)
values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | words,
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.sampled_from(["role", "content", "from", "value", "text", "rank", "answer", "replies"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@some_of(30)
@example("nvidia/HelpSteer2 preference", {"split": {"text": "train"}})
@given(some.sampled_from(sorted(SETS)), some.dictionaries(some.sampled_from(sorted(USED_COLUMNS)), values, max_size=6))
def test_a_row_with_any_values_makes_pairs_or_says_why_not(name, odd):
    row = {**SETS[name][0], **odd}
    with suppress(RowError, DataError):
        for pair in read_pairs(row, find_layout(row, "x", None, labels_needed=False)):
            assert pair.better in (0, 1, 2, None)
            check_pair(pair, "source", turns=False)


texts = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1, max_size=12)
tables = some.lists(some.fixed_dictionaries({"prompt": texts, "chosen": texts, "rejected": texts}), min_size=1, max_size=8)


def as_csv(rows):
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue().encode()


def as_parquet(rows):
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), written)
    return written.getvalue()


def as_arrow(rows):
    table = pa.Table.from_pylist(rows)
    written = io.BytesIO()
    with pa.ipc.new_stream(written, table.schema) as writer:
        writer.write_table(table)
    return written.getvalue()


WRITTEN = {
    "x.jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode(),
    "x.json": lambda rows: json.dumps(rows, ensure_ascii=False).encode(),
    "x.csv": as_csv,
    "x.parquet": as_parquet,
    "x.arrow": as_arrow,
}


def read(path):
    file = DataFile(path.name, path)
    return list(read_rows(file, detect(file), lambda _: None, set()))


@pytest.mark.parametrize("name", WRITTEN)
@some_of(30)
@given(rows=tables)
def test_what_was_written_is_read(tmp_path, name, rows):
    (tmp_path / name).write_bytes(WRITTEN[name](rows))
    assert [dict(row.fields) for row in read(tmp_path / name) if isinstance(row, Row)] == rows


@pytest.mark.parametrize("name", WRITTEN)
@some_of(30)
@given(rows=tables, place=some.floats(0, 1), odd=some.binary(max_size=6), cut=some.booleans())
def test_a_damaged_file_is_read_or_refused(tmp_path, name, rows, place, odd, cut):
    content = WRITTEN[name](rows)
    at = int(place * len(content))
    (tmp_path / name).write_bytes(content[:at] + odd + (b"" if cut else content[at + len(odd) :]))
    with suppress(DataError):
        read(tmp_path / name)
