"""Files that are no rows are refused for what they are, with a remedy that helps."""

import bz2
import lzma
import pickle

import pytest

LINE = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


@pytest.mark.parametrize(
    ("content", "told", "hint"),
    [
        (lzma.compress(LINE), "compressed with xz", "xz --decompress"),
        (bz2.compress(LINE), "compressed with bzip2", "bzip2"),
        (b"PK\x03\x04rest", "a zip archive", "unpack"),
        (b"\x50\x2a\x4d\x18\x04\0\0\0more", "compressed with pzstd", "zstd"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer", "git lfs pull"),
        (pickle.dumps([1]), "a Python pickle", ".jsonl"),
        (b"<!DOCTYPE html><html></html>", "a web page", "download"),
    ],
    ids=["xz", "bzip2", "zip", "pzstd", "Git LFS pointer", "pickle", "web page"],
)
def test_other_files_are_named_with_what_to_do(refusal, content, told, hint):
    error = refusal(content, "pairs.jsonl")
    assert (error.reason, told in error.message, hint in error.hint) == ("UnknownFormat", True, True)
