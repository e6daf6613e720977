"""Files that hold no rows as they are: known by their first bytes, each with its own remedy."""

from codecs import getincrementaldecoder

from ser_core.data.reading.files.columnar import COLUMNAR
from ser_core.data.reading.files.rows import DataFile
from ser_core.errors import DataError

_UNPACK = "unpack it and name the file or folder inside"
_CONVERT = "write it as .jsonl or .parquet"
_PAGE = "download the data again; a page in their place often says that a login is missing"
_FETCH = "fetch the content (git annex get, git xet, dvc pull), then copy it again"
_ROWS = "name a file of rows: .jsonl, .json, .csv, .parquet or .arrow"
_SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer, not the data", "run git lfs pull where the repository was cloned, then copy it again"),
    (b"version https://hawser", "a Git LFS pointer, not the data", "run git lfs pull where the repository was cloned, then copy it again"),
    (b"# xet version", "a Git Xet pointer, not the data", _FETCH),
    (b"/annex/objects/", "a git-annex pointer, not the data", _FETCH),
    (b"outs:\n- md5:", "a pointer of DVC, not the data", _FETCH),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it (xz --decompress), or compress it with gzip or zstd"),
    (b"BZh", "compressed with bzip2", "unpack it (bzip2 --decompress), or compress it with gzip or zstd"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "unpack it (lz4 --decompress), or compress it with gzip or zstd"),
    (b"\x5d\x00\x00", "compressed with lzma", "unpack it (xz --format=lzma --decompress), or compress it with gzip or zstd"),
    (b"\x1f\x9d", "compressed with compress", "unpack it (gzip --decompress), or compress it with gzip or zstd"),
    (b"x\x9c", "compressed with zlib", "unpack it (zlib-flate -uncompress), or compress it with gzip or zstd"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed with snappy", "unpack it, or compress it with gzip or zstd"),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (b"PK\x07\x08", "a part of a zip archive", _UNPACK),
    (b"PK\x03\x04", "a zip archive, such as .zip and .xlsx", "unpack it and name what is inside; write a spreadsheet as .csv or .parquet"),
    (b"PARE", "an encrypted parquet file", "write it without encryption"),
    (b"SQLite format 3", "an SQLite database", _CONVERT),
    (b"\x89HDF", "an HDF5 file", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", _CONVERT),
    (b"Obj\x01", "an Avro file", _CONVERT),
    (b"ORC", "an ORC file", _CONVERT),
    (b"FEA1", "a Feather file of version 1", "write it as .jsonl, .parquet or .arrow"),
    (b"%PDF", "a PDF file", _ROWS),
    (b"\x89PNG", "a PNG image", _ROWS),
    (b"\xff\xd8\xff", "a JPEG image", _ROWS),
    (b"\x7fELF", "a program (ELF)", _ROWS),
)
_MARKUP = (
    (b"<!doctype", "a web page", _PAGE),
    (b"<html", "a web page", _PAGE),
    (b"<!--", "a web page", _PAGE),
    (b"<?xml", "an XML document, such as the error of a store", "download the data again; of data in XML, write the rows as .jsonl"),
    (b"<error>", "an XML document, such as the error of a store", "download the data again"),
)
"""The same, whatever white space stands before it, and whichever letter case it has."""
_PICKLE = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_SKIPPABLE = tuple(bytes((number, 0x2A, 0x4D, 0x18)) for number in range(0x50, 0x60))


_TAR_AT, _TAR = 257, b"ustar"
_FEW = 16
"""A text has fewer bytes of 0 than one of so many."""
_CONTROL = bytes(number for number in range(1, 32) if number not in b"\t\n\v\f\r\x1b")
_FEW_CONTROL = 32
"""A text in another encoding has fewer other control characters; of bytes by chance one of ten is."""
HEAD = 512
"""Bytes by which a file is known."""


def refuse_other_formats(file: DataFile) -> None:
    """Refuse a file whose first bytes say that it is no text and no parquet.

    Raises:
        DataError: ``UnknownFormat``, with what it is and what to do.
    """
    with file.path.open("rb") as stream:
        _refuse(file, stream.read(HEAD))


def refuse_inside(file: DataFile, start: bytes) -> None:
    """The same of the first bytes that a compressed file holds, or a plain one that is to be text.

    Raises:
        DataError: ``UnknownFormat``.
    """
    _refuse(file, start)
    if start.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        raise _refused(file, "compressed twice", "unpack it once")
    if start.startswith(tuple(COLUMNAR)):
        raise _refused(file, "a compressed parquet or Arrow file", "unpack it: these are compressed inside already")
    if start.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return  # what its decoding refuses as UTF-16 or UTF-32
    if start and not start.strip(b"\0"):
        raise _refused(file, "no text, since its beginning holds nothing but bytes of 0", "copy or download it again: it is not whole")
    if start.count(0) * _FEW > len(start):
        order = "BE" if start.startswith(b"\0") else "LE"
        hint = f"write it as .jsonl in UTF-8; of UTF-16: iconv -f UTF-16{order} -t UTF-8"
        raise _refused(file, "no text, since it holds many bytes of 0", hint)
    if not _is_utf8(start) and (len(start) - len(start.translate(None, _CONTROL))) * _FEW_CONTROL > len(start):
        raise _refused(
            file, "no text, since it holds many control characters", f"unpack or decrypt it, if it is packed or encrypted; else {_CONVERT}"
        )


def _is_utf8(start: bytes) -> bool:
    """Whether bytes are UTF-8, but for a character that is cut off at their end."""
    try:
        getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def _refuse(file: DataFile, start: bytes) -> None:
    for signature, what, hint in _SIGNATURES:
        if start.startswith(signature):
            raise _refused(file, what, hint)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, what, hint in _MARKUP:
        if text.startswith(mark):
            raise _refused(file, what, hint)
    if start[_TAR_AT:].startswith(_TAR):
        raise _refused(file, "a tar archive", _UNPACK)
    if start.startswith(_PICKLE):
        raise _refused(file, "a Python pickle, which is never read", _CONVERT)
    if start.startswith(_SKIPPABLE):
        raise _refused(file, "compressed with pzstd", "unpack it (zstd --decompress), or compress it again with zstd")


def _refused(file: DataFile, what: str, hint: str) -> DataError:
    return DataError(f"{file.name} is {what}", reason="UnknownFormat", hint=hint)
