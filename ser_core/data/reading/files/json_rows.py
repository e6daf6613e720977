"""JSON objects as rows, stricter than Python's parser: no repeated keys, bounded depth and digits. NaN is a number as any other."""

import codecs
import json
from collections.abc import Iterator
from typing import Any

from ser_core.data.reading.files.rows import MAX_ROW_BYTES, BadRow, DataFile, Row, RowError, first_repeated
from ser_core.data.reading.files.streams import Position, not_utf8, read_chunks, without_bom
from ser_core.errors import DataError

MAX_PARTS = 500_000
"""Most objects, lists and keys of a row: each takes some hundred bytes of memory, from two bytes of a file."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RowError("DuplicateKey", f"key {first_repeated(name for name, _ in pairs)!r} occurs twice")
    return fields


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=float)
_LENIENT = json.JSONDecoder(parse_constant=str, parse_int=str)


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object in ``text``.

    Raises:
        RowError: ``MalformedJson``, ``NotAnObject``, ``DuplicateKey`` or ``TooLarge``.
    """
    refuse_many_parts(text)
    try:
        value = _STRICT.decode(text)
    except json.JSONDecodeError as error:
        nothing = error.msg == "Expecting value" and not text[: error.pos].strip()
        what = "no JSON: a row begins with {" if nothing else f"{error.msg.removesuffix(' at')} at character {error.pos + 1}"
        raise RowError("MalformedJson", what) from error
    except RecursionError as error:
        raise RowError("TooLarge", "nested too deeply") from error
    except ValueError as error:  # Python's limit on the digits of an integer
        raise RowError("TooLarge", "a number with too many digits") from error
    return _object(value)


def refuse_many_parts(text: str, start: int = 0) -> None:
    """Raise `RowError` ``TooLarge`` for a JSON text of too many parts."""
    if len(text) - start > MAX_PARTS and sum(text.count(mark, start) for mark in ("{", "[", '":')) > MAX_PARTS:
        raise RowError("TooLarge", f"more than {MAX_PARTS:,} objects, lists and keys")


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError("NotAnObject", f"{'null' if value is None else type(value).__name__} instead of an object with named fields")
    return value


def read_json_array(file: DataFile, position: Position, notes: set[str]) -> Iterator[Row | BadRow]:
    """Elements of one JSON array, with the line on which each begins. Only one element is held in memory.

    Raises:
        DataError: The array is malformed or cut off, since nothing after that point can be found; with the line.
    """
    source = _TextWindow(file, position, notes)
    source.skip("[")
    while source.peek() != "]":
        yield _read_element(file, source)
        if source.peek() == ",":
            source.skip(",")
        elif source.peek() != "]":
            raise _malformed(file, source.line, f"{source.peek()!r} after an element, expected ',' or ']'")
    source.skip("]")
    if source.peek():
        raise _malformed(file, source.line, "text after the closing ']'")


def _malformed(file: DataFile, line: int, what: str) -> DataError:
    return DataError(
        f"{file.name}, line {line}: {what}",
        reason="MalformedJson",
        hint="write one JSON object a line (.jsonl): then a bad row is dropped alone",
    )


def _read_element(file: DataFile, source: "_TextWindow") -> Row | BadRow:
    source.peek()
    line = source.line
    while True:
        try:
            value, end = _STRICT.raw_decode(source.text, source.start)
            source.advance(end)
            return Row(file.name, line, _object(value))
        except json.JSONDecodeError as error:
            if not source.double():
                raise _malformed(file, line, f"{error.msg}; the array is malformed or cut off here") from error
        except RecursionError as error:
            raise _malformed(file, line, "nested too deeply") from error
        except (RowError, ValueError) as error:
            problem = error if isinstance(error, RowError) else RowError("TooLarge", "a number with too many digits")
            if problem.reason == "NotAnObject" or source.advance_over_element():
                return problem.at(file.name, line)
            if not source.double():
                raise _malformed(file, line, "the array is cut off here") from error


class _TextWindow:
    """The part of a text file that is being parsed, from ``start`` on."""

    def __init__(self, file: DataFile, position: Position, notes: set[str]) -> None:
        self.text = ""
        self.start = 0
        self.line = 1
        self._file = file
        self._chunks = read_chunks(file, position)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._read = 0
        self._notes = notes

    def extend(self) -> bool:
        """Append more text. False at the end of the file or when one element is larger than a row may be."""
        if len(self.text) - self.start > MAX_ROW_BYTES:
            return False
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        body = without_bom(self._file, chunk, self._notes) if self._read == 0 else chunk
        try:
            decoded = self._decoder.decode(body)
        except UnicodeDecodeError as error:
            offset = self._read + len(chunk) - len(body) + error.start
            raise not_utf8(self._file, f"after line {self.line}, byte offset {offset}", error.object[error.start]) from error
        self._read += len(chunk)
        self.text = self.text[self.start :] + decoded
        self.start = 0
        return True

    def double(self) -> bool:
        """Append as much text as there is already, since the element is parsed anew each time. False as of `extend`.

        Raises:
            DataError: The element would take too much memory (``TooLarge``).
        """
        self._refuse_many_parts()
        wanted = 2 * (len(self.text) - self.start)
        extended = self.extend()
        while extended and len(self.text) - self.start < wanted:
            if not self.extend():
                break
        return extended

    def _refuse_many_parts(self) -> None:
        try:
            refuse_many_parts(self.text, self.start)
        except RowError as error:
            raise DataError(
                f"{self._file.name}, line {self.line}: {error.detail} in one row",
                reason="TooLarge",
                hint="write one JSON object a line (.jsonl): then such a row is dropped alone",
            ) from error

    def advance(self, end: int) -> None:
        """Move on to ``end``."""
        self.line += self.text.count("\n", self.start, end)
        self.start = end

    def advance_over_element(self) -> bool:
        """Move over an element that strict parsing refused. False when it is not complete yet."""
        try:
            _, end = _LENIENT.raw_decode(self.text, self.start)
        except json.JSONDecodeError:
            return False
        self.advance(end)
        return True

    def peek(self) -> str:
        """The next character that is no white space, or nothing at the end."""
        while True:
            end = self.start
            while end < len(self.text) and self.text[end] in " \t\r\n":
                end += 1
            self.advance(end)
            if end < len(self.text):
                return self.text[end]
            if not self.extend():
                return ""

    def skip(self, character: str) -> None:
        """Move over ``character``, which is next."""
        if self.peek() != character:
            raise _malformed(self._file, self.line, f"expected {character!r}")
        self.advance(self.start + 1)
