"""Files of rows as programs write them, in odd types too, and what a plain reader finds there."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Rows = Sequence[Mapping[str, Any]]
TEXTS = (
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_string())),
)
NUMBERS = (pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.decimal128(9, 2), pa.string(), pa.dictionary(pa.int8(), pa.int64()))


def as_json_lines(rows: Rows) -> bytes:
    """One object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_json(rows: Rows) -> bytes:
    """One list over many lines."""
    return json.dumps(rows, indent=1).encode()


def as_csv(rows: Rows) -> bytes:
    """Lists and objects as JSON, as pandas and others write them."""
    written = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(written, columns, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return written.getvalue().encode()


def cell(value: Any) -> str:
    """Of a CSV."""
    if value is ...:
        return ""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def as_table(rows: Rows, kind: pa.DataType, number: pa.DataType) -> pa.Table:
    """Text columns of this type and whole numbers of that; raises `pa.ArrowException` where the rows make no table."""
    table = pa.Table.from_pylist(rows)
    for index, field in enumerate(table.schema):
        new = kind if pa.types.is_string(field.type) else number if pa.types.is_integer(field.type) else None
        if new is not None:
            table = table.set_column(index, field.name, pa.array(_plain(table.column(index), new), new))
    return table


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    values = column.to_pylist()
    if pa.types.is_string(kind):
        return [None if value is None else str(value) for value in values]
    return values


def as_parquet(table: pa.Table) -> bytes:
    """In groups of five rows."""
    written = io.BytesIO()
    pq.write_table(table, written, row_group_size=5, compression="zstd")
    return written.getvalue()


def as_arrow(table: pa.Table, new: Callable[..., Any]) -> bytes:
    """A stream or a file, in batches of five rows."""
    written = io.BytesIO()
    with new(written, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    return written.getvalue()


TEXT_FILES = {
    "x.jsonl": as_json_lines,
    "x.json": as_json,
    "x.csv": as_csv,
    "x.jsonl.gz": lambda rows: gzip.compress(as_json_lines(rows)),
    "x.json.zst": lambda rows: pa.Codec("zstd").compress(as_json(rows), asbytes=True),
}
TABLES = {
    "x.parquet": as_parquet,
    "stream.arrow": lambda table: as_arrow(table, pa.ipc.new_stream),
    "file.arrow": lambda table: as_arrow(table, pa.ipc.new_file),
}
