"""Files that are no rows are refused for what they are, with a remedy that helps."""

import bz2
import lzma
import pickle

import pyarrow as pa
import pytest

LINE = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


def arrow(new):
    sink = pa.BufferOutputStream()
    table = pa.table({"prompt": ["a"]})
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content", "told", "hint"),
    [
        (lzma.compress(LINE), "compressed with xz", "xz --decompress"),
        (bz2.compress(LINE), "compressed with bzip2", "bzip2"),
        (b"PK\x03\x04rest", "a zip archive", "unpack"),
        (arrow(pa.ipc.new_file), "an Arrow file", "parquet"),
        (arrow(pa.ipc.new_stream), "an Arrow stream", "load_from_disk"),
        (b"\x50\x2a\x4d\x18\x04\0\0\0more", "compressed with pzstd", "zstd"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer", "git lfs pull"),
        (pickle.dumps([1]), "a Python pickle", ".jsonl"),
        (b"<!DOCTYPE html><html></html>", "a web page", "download"),
    ],
    ids=["xz", "bzip2", "zip", "Arrow file", "Arrow stream", "pzstd", "Git LFS pointer", "pickle", "web page"],
)
def test_other_files_are_named_with_what_to_do(refusal, content, told, hint):
    error = refusal(content, "pairs.jsonl")
    assert (error.reason, told in error.message, hint in error.hint) == ("UnknownFormat", True, True)
