"""Rows of JSON Lines, JSON, CSV and parquet files. The content decides what a file is; its name only breaks ties."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath

import pyarrow as pa
import pyarrow.parquet as pq

from ser_core.data.reading.json_rows import parse_object, read_json_array
from ser_core.data.reading.rows import MAX_ROW_BYTES, BadRow, DataFile, Row, RowError
from ser_core.data.reading.signatures import refuse_other_formats
from ser_core.data.reading.streams import Position, compression_of, read_chunks, read_lines, without_bom
from ser_core.errors import DataError

EXTENSIONS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_SHORT = {"gzip": ".gz", "zstd": ".zst", None: ""}
_PARQUET_BATCH = 256
_HEAD_LINES = 20


@dataclass(frozen=True, slots=True)
class Container:
    """What a file is: ``jsonl``, ``json``, ``csv`` or ``parquet``, and its compression."""

    kind: str
    compression: str | None

    def __str__(self) -> str:
        return self.kind + _SHORT[self.compression]


def extension_of(name: str) -> tuple[str | None, str | None]:
    """Kind and compression that a file name promises; None where it promises none."""
    path = PurePath(name.lower())
    compression = COMPRESSED.get(path.suffix)
    return EXTENSIONS.get(path.with_suffix("").suffix if compression else path.suffix), compression


def detect(file: DataFile) -> Container:
    """What ``file`` is, by its content.

    Raises:
        DataError: It is empty, or none of the known kinds.
    """
    refuse_other_formats(file)
    compression = compression_of(file)
    with file.path.open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return Container("parquet", None)
    lines = islice((line for line in read_lines(file, _ignore, set()) if line is None or line.strip()), _HEAD_LINES)
    first = next(lines, "")
    if first == "":
        raise DataError(f"{file.name} holds no rows", reason="DataEmpty", hint="check that the upload or export was complete")
    promised = extension_of(file.name)[0]
    return Container(_kind_of(first.lstrip() if first is not None else _beginning(file), promised, file), compression)


def _beginning(file: DataFile) -> str:
    """The first characters of a file whose first line is longer than a row may be."""
    chunk = next(read_chunks(file, _ignore), b"")
    return without_bom(file, chunk, set()).lstrip()[:1].decode(errors="replace")


def _kind_of(start: str, promised: str | None, file: DataFile) -> str:
    if start.startswith("["):
        return "json"
    if start.startswith("{") or (promised in ("json", "jsonl") and "," not in start):
        return "jsonl"
    if promised is not None and start.isprintable() and promised != "parquet":
        return "csv"
    raise DataError(
        f"{file.name} is neither JSON Lines, JSON, CSV nor parquet",
        reason="UnknownFormat",
        hint="accepted: .jsonl, .json and .csv, also as .gz or .zst, and .parquet",
    )


def read_rows(file: DataFile, container: Container, position: Position, notes: set[str]) -> Iterator[Row | BadRow]:
    """Every row of ``file``; what cannot be a row comes as `BadRow`.

    Args:
        file: The file.
        container: What `detect` says it is.
        position: Told the bytes read so far.
        notes: Receives what was normalised (byte order mark, CRLF).

    Raises:
        DataError: The file as a whole cannot be read; with line or offset.
    """
    if container.kind == "parquet":
        return _read_parquet(file, position)
    if container.kind == "csv":
        return _read_csv(file, position, notes)
    if container.kind == "json":
        return read_json_array(file, position, notes)
    return _read_json_lines(file, position, notes)


def _read_json_lines(file: DataFile, position: Position, notes: set[str]) -> Iterator[Row | BadRow]:
    for number, line in enumerate(read_lines(file, position, notes), 1):
        if line is None:
            yield BadRow(file.name, number, "TooLarge", f"longer than {MAX_ROW_BYTES >> 20} MiB")
        elif line.strip():
            try:
                yield Row(file.name, number, parse_object(line))
            except RowError as error:
                yield error.at(file.name, number)


def _read_csv(file: DataFile, position: Position, notes: set[str]) -> Iterator[Row | BadRow]:
    csv.field_size_limit(MAX_ROW_BYTES)  # the default of 128 KiB is shorter than a long dialogue
    reader = csv.reader(_csv_lines(file, position, notes), strict=True)
    try:
        header = next(reader)
        if len(set(header)) != len(header):
            raise DataError(
                f"{file.name}, line 1: a column name occurs twice: {header}", reason="DuplicateColumn", hint="rename one of them"
            )
        for cells in reader:
            if len(cells) == len(header):
                yield Row(file.name, reader.line_num, dict(zip(header, cells, strict=True)))
            elif cells:
                yield BadRow(file.name, reader.line_num, "MalformedRow", f"{len(cells)} cells under {len(header)} columns")
    except csv.Error as error:
        raise DataError(
            f"{file.name}, line {reader.line_num}: {error}",
            reason="MalformedCsv",
            hint='a quote is not closed or not doubled: write " inside a cell as ""',
        ) from error


def _csv_lines(file: DataFile, position: Position, notes: set[str]) -> Iterator[str]:
    for number, line in enumerate(read_lines(file, position, notes), 1):
        if line is None:
            raise DataError(
                f"{file.name}, line {number} is longer than {MAX_ROW_BYTES >> 20} MiB", reason="TooLarge", hint="split or remove the row"
            )
        yield line + "\n"


def _read_parquet(file: DataFile, position: Position) -> Iterator[Row | BadRow]:
    number = 0
    size = file.path.stat().st_size
    try:
        with pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(batch_size=_PARQUET_BATCH):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(file.name, number, fields)
                position(size * number // max(1, parquet.metadata.num_rows))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.name}, after row {number}: {error}", reason="InvalidEncoding", hint="write text columns as UTF-8"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file.name}, after row {number}: {error}", reason="CorruptFile", hint="write or copy the file again") from error


def _ignore(_position: int) -> None:
    return None
