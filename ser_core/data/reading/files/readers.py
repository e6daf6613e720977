"""Rows of JSON Lines, JSON, CSV, parquet and Arrow files. The content decides what a file is; its name only breaks ties."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath

from ser_core.data.reading.files.columnar import column_names, columnar_kind, read_columnar
from ser_core.data.reading.files.csv_rows import SEPARATORS, read_csv
from ser_core.data.reading.files.json_rows import parse_object, read_json_array
from ser_core.data.reading.files.rows import MAX_ROW_BYTES, BadRow, DataFile, Row, RowError
from ser_core.data.reading.files.signatures import HEAD, refuse_inside, refuse_other_formats
from ser_core.data.reading.files.streams import BYTE_ORDER_MARK, Position, compression_of, read_chunks, read_lines, without_bom
from ser_core.errors import DataError

EXTENSIONS = {
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv"},
    **{".parquet": "parquet", ".arrow": "arrow"},
}
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_SHORT = {"gzip": ".gz", "zstd": ".zst", None: ""}
_HEAD_LINES = 20


@dataclass(frozen=True, slots=True)
class Container:
    """What a file is: ``jsonl``, ``json``, ``csv``, ``parquet``, ``arrow`` or ``empty``, and its compression."""

    kind: str
    compression: str | None

    def __str__(self) -> str:
        return self.kind + _SHORT[self.compression]


def extension_of(name: str) -> tuple[str | None, str | None]:
    """Kind and compression that a file name promises; None where it promises none."""
    path = PurePath(name.lower())
    compression = COMPRESSED.get(path.suffix)
    return EXTENSIONS.get(path.with_suffix("").suffix if compression else path.suffix), compression


def detect(file: DataFile, *, nameless: bool = False) -> Container:
    """What ``file`` is, by its content.

    Args:
        file: The file.
        nameless: Whether its name says nothing; then a separator of cells makes it CSV.

    Raises:
        DataError: It is none of the known kinds.
    """
    refuse_other_formats(file)
    if columnar := columnar_kind(file):
        return Container(columnar, None)
    refuse_inside(file, next(read_chunks(file, _ignore), b"")[:HEAD])
    compression = compression_of(file)
    lines = islice((line for line in read_lines(file, _ignore, set()) if line is None or line.strip()), _HEAD_LINES)
    first = next(lines, "")
    if first == "":
        return Container("empty", compression)
    if first is not None and "\r" in first.rstrip("\r"):
        raise DataError(
            f"{file.name}, line 1: lines end at CR alone",
            reason="UnknownFormat",
            hint="convert the file: tr '\\r' '\\n' < file > converted",
        )
    start = first.lstrip() if first is not None else _beginning(file)
    promised = ("csv" if any(sign in start for sign in SEPARATORS) else None) if nameless else extension_of(file.name)[0]
    return Container(_kind_of(start, promised, file), compression)


def _beginning(file: DataFile) -> str:
    """The first characters of a file whose first line is longer than a row may be."""
    chunk = next(read_chunks(file, _ignore), b"")
    return without_bom(file, chunk, set()).lstrip()[:1].decode(errors="replace")


def _kind_of(start: str, promised: str | None, file: DataFile) -> str:
    if start.startswith("["):
        return "json"
    if start.startswith("{") or (promised in ("json", "jsonl") and "," not in start):
        return "jsonl"
    if promised is not None and start.replace("\t", "").isprintable() and promised not in ("parquet", "arrow"):
        return "csv"
    raise DataError(
        f"{file.name} is neither JSON Lines, JSON, CSV, parquet nor Arrow",
        reason="UnknownFormat",
        hint="accepted: .jsonl, .json, .csv and .tsv, also as .gz or .zst, .parquet and .arrow",
    )


def columns_of(file: DataFile, container: Container) -> tuple[str, ...] | None:
    """The columns of a parquet or Arrow file; None where only the rows tell.

    Raises:
        DataError: The file is damaged, or holds a column twice.
    """
    return column_names(file) if container.kind in ("parquet", "arrow") else None


def read_rows(
    file: DataFile, container: Container, position: Position, notes: set[str], wanted: Collection[str] | None = None
) -> Iterator[Row | BadRow]:
    """Every row of ``file``; what cannot be a row comes as `BadRow`.

    Args:
        file: The file.
        container: What `detect` says it is.
        position: Told the bytes read so far.
        notes: Receives what was normalised (byte order mark, CRLF).
        wanted: Columns that are decoded where the format allows a choice (parquet, Arrow); None for all.

    Raises:
        DataError: The file as a whole cannot be read; with line or offset.
    """
    if container.kind in ("parquet", "arrow"):
        return read_columnar(file, position, wanted)
    readers = {"csv": read_csv, "json": read_json_array, "jsonl": _read_json_lines}
    return readers[container.kind](file, position, notes) if container.kind != "empty" else iter(())


def _read_json_lines(file: DataFile, position: Position, notes: set[str]) -> Iterator[Row | BadRow]:
    for number, line in enumerate(read_lines(file, position, notes), 1):
        if line is None:
            yield BadRow(file.name, number, "TooLarge", f"longer than {MAX_ROW_BYTES >> 20} MiB")
        elif line.strip():
            try:
                yield Row(file.name, number, parse_object(line.removeprefix(BYTE_ORDER_MARK)))
            except RowError as error:
                yield error.at(file.name, number)


def _ignore(_position: int) -> None:
    return None
