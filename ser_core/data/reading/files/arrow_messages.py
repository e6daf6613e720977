"""What the messages of an Arrow stream say that their buffers hold once they are unpacked: asked before anything is unpacked.

Source: https://arrow.apache.org/docs/format/Columnar.html, encapsulated messages and buffer compression; the metadata are flatbuffers.
"""

import struct
from collections.abc import Iterator

import pyarrow as pa

_DICTIONARY, _BATCH = 2, 3
"""Kinds of a message's header."""
_HEADER_TYPE, _HEADER = 1, 2
_DATA = 1
"""Of a dictionary: its batch."""
_BUFFERS, _COMPRESSION = 2, 3
"""Of a batch."""
_EARLIER = b"ARROW:experimental_compression"
"""How Arrow 0.17 said that buffers are compressed; it is read to this day."""
_BUFFER = struct.Struct("<qq")
_LENGTH = struct.Struct("<q")


def unpacked_bytes(source: pa.NativeFile) -> Iterator[int]:
    """For each message of a stream, the bytes that its compressed buffers become.

    Args:
        source: At the beginning of the stream.

    Raises:
        pyarrow.ArrowException: A message is damaged or cut off.
    """
    for message in pa.ipc.MessageReader.open_stream(source):
        try:
            yield sum(_of(memoryview(message.metadata), message.body))
        except (struct.error, IndexError) as error:
            raise pa.ArrowInvalid(f"the metadata of a message are damaged: {error}") from error


def _of(metadata: memoryview, body: pa.Buffer | None) -> Iterator[int]:
    message = _unsigned(metadata, 0)
    kind, header = _field(metadata, message, _HEADER_TYPE), _field(metadata, message, _HEADER)
    if body is None or not kind or not header or metadata[kind] not in (_DICTIONARY, _BATCH):
        return
    batch = _target(metadata, header)
    if metadata[kind] == _DICTIONARY:
        batch = _target(metadata, _field(metadata, batch, _DATA))
    buffers = _field(metadata, batch, _BUFFERS)
    if not buffers or not (_field(metadata, batch, _COMPRESSION) or _EARLIER in bytes(metadata)):
        return
    first = _target(metadata, buffers)
    for number in range(_unsigned(metadata, first)):
        at, length = _BUFFER.unpack_from(metadata, first + 4 + number * _BUFFER.size)
        if length >= _LENGTH.size:
            yield max(0, *_LENGTH.unpack_from(memoryview(body), at))  # -1: this one is not compressed


def _field(data: memoryview, table: int, number: int) -> int:
    """Where a field of a table is; 0: it is left out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    slot = 4 + 2 * number
    offset: int = struct.unpack_from("<H", data, vtable + slot)[0] if slot < size else 0
    return table + offset if offset else 0


def _target(data: memoryview, at: int) -> int:
    return at + _unsigned(data, at)


def _unsigned(data: memoryview, at: int) -> int:
    found: int = struct.unpack_from("<I", data, at)[0]
    return found
