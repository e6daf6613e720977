"""Rows of parquet and Arrow files. Only the columns that are used are decoded, a few rows at a time."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ser_core.data.reading.files.arrow_messages import unpacked_bytes
from ser_core.data.reading.files.arrow_weight import BYTES_OF_A_VALUE, weight
from ser_core.data.reading.files.rows import MAX_ROW_BYTES, BadRow, DataFile, Row, first_repeated
from ser_core.data.reading.files.streams import Position, refuse_expansion
from ser_core.errors import DataError

_ROWS_AT_ONCE = 8
"""Few: a file may hold one long text once and name it in every row."""
_ARROW_FILE = b"ARROW1"
COLUMNAR = {b"PAR1": "parquet", b"ARRO": "arrow", b"\xff\xff\xff\xff": "arrow"}
_NUMBER = {32: pa.int32(), 64: pa.int64()}


def columnar_kind(file: DataFile) -> str | None:
    """``parquet`` or ``arrow`` (a file or a stream) by the first bytes; None for text."""
    with file.path.open("rb") as stream:
        return COLUMNAR.get(stream.read(4))


def column_names(file: DataFile) -> tuple[str, ...]:
    """All columns in their order.

    Raises:
        DataError: The file is damaged, or a name occurs twice.
    """
    with _opened(file) as table:
        return tuple(table.names)


def read_columnar(file: DataFile, position: Position, wanted: Collection[str] | None) -> Iterator[Row | BadRow]:
    """Every row with the columns that are both ``wanted`` and there; with all of them where ``wanted`` is None.

    Raises:
        DataError: The file is damaged, expands more than a hundredfold, or holds a column twice.
    """
    number = decoded = 0
    size = file.path.stat().st_size
    with _opened(file) as table:
        columns = [name for name in table.names if wanted is None or name in wanted]
        refuse_expansion(file, table.declared_bytes(columns) + BYTES_OF_A_VALUE * table.rows, size)
        for batch in table.batches(columns):
            decoded += weight(batch)
            refuse_expansion(file, decoded, size)
            for row in _rows(file, batch, number):
                number += 1
                yield row
            position(size * number // max(number, table.rows))


def _rows(file: DataFile, batch: pa.RecordBatch, before: int) -> Iterator[Row | BadRow]:
    if weight(batch) <= MAX_ROW_BYTES:
        yield from (Row(file.name, before + index, fields) for index, fields in enumerate(_values(batch), 1))
        return
    for index in range(batch.num_rows):
        row = batch.slice(index, 1)
        if weight(row) > MAX_ROW_BYTES:
            yield BadRow(file.name, before + index + 1, "TooLarge", f"longer than {MAX_ROW_BYTES >> 20} MiB")
        else:
            yield Row(file.name, before + index + 1, _values(row)[0])


def _values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The fields of every row. Bytes are text where they can be; times that Python has no date for are numbers."""
    return [{name: _decoded(value) for name, value in row.items()} for row in _python_values(batch)]


def _decoded(value: Any) -> Any:
    """Some programs write text as bytes. Others keep pictures so: what is no UTF-8 stays as it is."""
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode()
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return {name: _decoded(one) for name, one in value.items()} if isinstance(value, dict) else value


def _python_values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except (OverflowError, ValueError):
        columns = [column.view(_NUMBER[column.type.bit_width]) if pa.types.is_temporal(column.type) else column for column in batch.columns]
        return list(pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist())


class _Table(Protocol):
    names: Sequence[str]
    rows: int
    """How many there are, as far as the file tells; else 0."""

    def declared_bytes(self, columns: Collection[str]) -> int:
        """What the file says that is decoded for these columns."""
        ...

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]: ...


class _Parquet:
    def __init__(self, opened: pq.ParquetFile) -> None:
        self.names = opened.schema_arrow.names
        self.rows = opened.metadata.num_rows
        self._opened = opened

    def declared_bytes(self, columns: Collection[str]) -> int:
        about = self._opened.metadata
        groups = (about.row_group(number) for number in range(about.num_row_groups))
        chunks = (group.column(number) for group in groups for number in range(group.num_columns))
        return sum(
            chunk.total_uncompressed_size + BYTES_OF_A_VALUE * chunk.num_values
            for chunk in chunks
            if any(chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.") for name in columns)
        )

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        yield from self._opened.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns)


class _Arrow:
    """A stream, or a file, which is a stream between a mark and a list of its batches."""

    def __init__(self, mapped: pa.MemoryMappedFile) -> None:
        self._mapped = mapped
        is_file = mapped.read(len(_ARROW_FILE)) == _ARROW_FILE
        mapped.seek(0)
        self._listed = pa.ipc.open_file(mapped).num_record_batches if is_file else None
        self._start = 8 if is_file else 0
        self.names = self._stream().schema.names
        self.rows = 0

    def declared_bytes(self, _columns: Collection[str]) -> int:
        self._mapped.seek(self._start)
        return sum(unpacked_bytes(self._mapped))

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        found = 0
        for batch in self._stream():
            found += 1
            chosen = batch.select(columns)
            chosen.validate(full=True)  # offsets are read as they stand in the file
            yield from (chosen.slice(start, _ROWS_AT_ONCE) for start in range(0, chosen.num_rows, _ROWS_AT_ONCE))
        if self._listed not in (None, found):
            raise pa.ArrowInvalid(f"it lists {self._listed} batches and holds {found}")

    def _stream(self) -> pa.ipc.RecordBatchStreamReader:
        self._mapped.seek(self._start)
        return pa.ipc.open_stream(self._mapped)


@contextlib.contextmanager
def _opened(file: DataFile) -> Iterator[_Table]:
    try:
        with contextlib.ExitStack() as stack:
            table = _table(file, stack)
            if (twice := first_repeated(table.names)) is not None:
                raise DataError(f"{file.name}: a column name occurs twice: {twice!r}", reason="DuplicateColumn", hint="rename one")
            yield table
    except UnicodeDecodeError as error:
        raise DataError(f"{file.name}: {error}", reason="InvalidEncoding", hint="write text columns as UTF-8") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file.name}: {' '.join(str(error).split())}", reason="CorruptFile", hint="write or copy the file again"
        ) from error


def _table(file: DataFile, stack: contextlib.ExitStack) -> _Table:
    if columnar_kind(file) == "parquet":
        return _Parquet(stack.enter_context(pq.ParquetFile(file.path)))
    return _Arrow(stack.enter_context(pa.memory_map(str(file.path))))
