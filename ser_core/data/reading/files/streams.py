"""Bytes and lines of a file that may be compressed. Memory stays flat whatever the file holds."""

from collections.abc import Callable, Iterator

import pyarrow as pa

from ser_core.data.reading.files.rows import MAX_ROW_BYTES, DataFile
from ser_core.errors import DataError

_CHUNK = 1 << 18
_MAX_RATIO = 100
_RATIO_COUNTS_FROM = 16 * 1024 * 1024
_UTF8_BOM = b"\xef\xbb\xbf"
BYTE_ORDER_MARK = "\ufeff"
"""Stands at the beginning of a line where files were put together."""
_OTHER_BOMS = {b"\xff\xfe\0\0": 32, b"\0\0\xfe\xff": 32, b"\xff\xfe": 16, b"\xfe\xff": 16}
"""Byte order marks of UTF-32 and UTF-16; the first of UTF-32 begins with one of UTF-16."""
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}

Position = Callable[[int], None]
"""Told how many bytes of the file on disk have been read."""


def compression_of(file: DataFile) -> str | None:
    """``gzip``, ``zstd`` or None, by the file's first bytes."""
    with file.path.open("rb") as stream:
        head = stream.read(4)
    return next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), None)


def read_chunks(file: DataFile, position: Position) -> Iterator[bytes]:
    """Decompressed content, piece by piece.

    Raises:
        DataError: The archive is cut off, damaged, or expands more than a hundredfold; with the offset.
    """
    compression = compression_of(file)
    with pa.OSFile(str(file.path)) as stored:
        stream = pa.CompressedInputStream(stored, compression) if compression else stored
        done = 0
        while chunk := _read(stream, file, done):
            done += len(chunk)
            compressed = stored.tell()
            position(compressed)
            if compression:
                refuse_expansion(file, done, compressed)
            yield chunk


def refuse_expansion(file: DataFile, expanded: int, stored: int) -> None:
    """Raise `DataError` ``SuspiciousArchive`` when ``stored`` bytes of a file became more than a hundred times as many, and 16 MiB."""
    if expanded > _RATIO_COUNTS_FROM and expanded > _MAX_RATIO * stored:
        raise DataError(
            f"{file.name} expands more than {_MAX_RATIO} times: {expanded} bytes from {stored}",
            reason="SuspiciousArchive",
            hint="if the content is right, store it without compression, as .jsonl",
        )


def _read(stream: pa.NativeFile, file: DataFile, done: int) -> bytes:
    try:
        content: bytes = stream.read(_CHUNK)
    except OSError as error:
        raise DataError(
            f"{file.name} is damaged or cut off after {done} decompressed bytes: {error}",
            reason="CorruptArchive",
            hint="copy or compress the file again",
        ) from error
    return content


def read_lines(file: DataFile, position: Position, notes: set[str]) -> Iterator[str | None]:
    """Lines by LF alone, without their CR or LF; None for a line above `MAX_ROW_BYTES`.

    A byte order mark is skipped; that and CRLF go into ``notes``.

    Raises:
        DataError: The file is not UTF-8; with line and byte offset.
    """
    number = 1
    for start, block in _blocks(file, position, notes):
        lines: list[str | None] = [None] if block is None else [*_decoded(file, block, number, start, notes)]
        yield from lines
        number += len(lines)


def _decoded(file: DataFile, block: bytes, number: int, start: int, notes: set[str]) -> list[str]:
    """The lines of a block, whose first one has this number and begins at this offset."""
    try:
        lines = block.decode().split("\n")
    except UnicodeDecodeError as error:
        line = number + block.count(b"\n", 0, error.start)
        raise not_utf8(file, f"line {line}, byte offset {start + error.start}", block[error.start]) from error
    if b"\r" not in block or not any(line.endswith("\r") for line in lines):
        return lines
    notes.add("CRLF line ends")
    return [line.removesuffix("\r") for line in lines]


def not_utf8(file: DataFile, where: str, byte: int) -> DataError:
    """The error for a byte that is no UTF-8."""
    return DataError(
        f"{file.name}, {where}: byte 0x{byte:02x} is not UTF-8",
        reason="InvalidEncoding",
        hint="convert the file from the encoding that it was written in; Western text of Windows: "
        "iconv -f WINDOWS-1252 -t UTF-8 OLD_FILE > NEW_FILE",
    )


def without_bom(file: DataFile, chunk: bytes, notes: set[str]) -> bytes:
    """The first chunk of a file without its byte order mark.

    Raises:
        DataError: The mark says UTF-16 or UTF-32.
    """
    bits = next((bits for mark, bits in _OTHER_BOMS.items() if chunk.startswith(mark)), None)
    if bits is not None:
        raise DataError(
            f"{file.name}, line 1, byte offset 0: a UTF-{bits} byte order mark",
            reason="InvalidEncoding",
            hint=f"convert the file: iconv -f UTF-{bits} -t UTF-8 OLD_FILE > NEW_FILE",
        )
    if chunk.startswith(_UTF8_BOM):
        notes.add("a byte order mark")
        return chunk[len(_UTF8_BOM) :]
    return chunk


def _blocks(file: DataFile, position: Position, notes: set[str]) -> Iterator[tuple[int, bytes | None]]:
    """Offset and bytes of whole lines, many at once since a file may hold millions; None for one line above `MAX_ROW_BYTES`."""
    offset, pending, too_long, first = 0, b"", False, True
    for chunk in read_chunks(file, position):
        rest = without_bom(file, chunk, notes) if first else chunk
        offset += len(chunk) - len(rest)
        first = False
        whole, end, after = rest.rpartition(b"\n")
        if end:
            joined, rest = pending + whole, after
            begun, _, others = joined.partition(b"\n") if too_long or len(joined) > MAX_ROW_BYTES else (b"", b"", b"")
            block: bytes | None = joined
            if too_long or len(begun) > MAX_ROW_BYTES:  # no other line is longer than a chunk
                yield offset, None
                offset += len(begun) + 1
                block = others if len(begun) < len(joined) else None
            if block is not None:
                yield offset, block
                offset += len(block) + 1
            pending, too_long = b"", False
        pending += rest
        if len(pending) > MAX_ROW_BYTES:
            offset, pending, too_long = offset + len(pending), b"", True
    if too_long or pending:
        yield offset, None if too_long else pending
