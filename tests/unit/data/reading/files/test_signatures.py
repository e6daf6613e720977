"""Files that are no rows are refused for what they are, with a remedy that helps."""

import bz2
import gzip
import io
import lzma
import pickle
import random
import tarfile
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

LINE = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


def tar():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        about = tarfile.TarInfo("pairs.jsonl")
        about.size = len(LINE)
        archive.addfile(about, io.BytesIO(LINE))
    return content.getvalue()


def parquet():
    content = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["a"]}), content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "told", "hint"),
    [
        (lzma.compress(LINE), "compressed with xz", "xz --decompress"),
        (bz2.compress(LINE), "compressed with bzip2", "bzip2"),
        (lzma.compress(LINE, format=lzma.FORMAT_ALONE), "compressed with lzma", "xz --format=lzma"),
        (zlib.compress(LINE), "compressed with zlib", "zlib-flate"),
        (b"FEA1" + bytes(60), "a Feather file of version 1", ".parquet or .arrow"),
        (random.Random(1).randbytes(400), "many control characters", "unpack or decrypt"),
        (b"PK\x03\x04rest", "a zip archive", "unpack"),
        (b"\x50\x2a\x4d\x18\x04\0\0\0more", "compressed with pzstd", "zstd"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer", "git lfs pull"),
        (pickle.dumps([1]), "a Python pickle", ".jsonl"),
        (b"<!DOCTYPE html><html></html>", "a web page", "download"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image", "a file of rows"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image", "a file of rows"),
        (b"%PDF-1.7\n", "a PDF file", "a file of rows"),
        (b"\x7fELF\x02\x01\x01", "a program", "a file of rows"),
        (tar(), "a tar archive", "unpack"),
        (gzip.compress(tar()), "a tar archive", "unpack"),
        (gzip.compress(gzip.compress(LINE)), "compressed twice", "unpack it once"),
        (gzip.compress(b"PK\x03\x04rest"), "a zip archive", "unpack"),
        (gzip.compress(parquet()), "a compressed parquet", "unpack"),
        (LINE.decode().encode("utf-16-le"), "many bytes of 0", "iconv -f UTF-16LE"),
        (LINE.decode().encode("utf-16-be"), "many bytes of 0", "iconv -f UTF-16BE"),
        (LINE.replace(b"\n", b"\r") * 3, "lines end at CR alone", "tr '\\r' '\\n'"),
        (b"\xef\xbb\xbf\n <HTML><body>", "a web page", "download"),
        (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "an XML document", "download the data again"),
        (b"/annex/objects/SHA256E-s9--0.jsonl\n", "a git-annex pointer", "git annex get"),
        (b"# xet version 0\nfilesize = 9\n", "a Git Xet pointer", "git xet"),
        (b"PK\x05\x06" + bytes(18), "an empty zip archive", "unpack"),
        (bytes(600) + LINE, "nothing but bytes of 0", "it is not whole"),
    ],
    ids=[
        *(
            "xz",
            "bzip2",
            "lzma",
            "zlib",
            "feather",
            "brotli or another without a signature",
            "zip",
            "pzstd",
            "Git LFS pointer",
            "pickle",
            "web page",
            "PNG",
            "JPEG",
            "PDF",
            "ELF",
            "tar",
            "tar.gz",
            "gzip in gzip",
            "zip in gzip",
        ),
        *("parquet in gzip", "UTF-16 without a mark", "its other order", "lines of CR"),
        *("web page after white space", "XML", "git-annex pointer", "Xet pointer", "empty zip", "hole"),
    ],
)
def test_other_files_are_named_with_what_to_do(refusal, content, told, hint):
    error = refusal(content, "pairs.jsonl")
    assert (error.reason, told in error.message, hint in error.hint) == ("UnknownFormat", True, True)


def test_a_csv_whose_first_line_names_no_columns_is_told_so(refusal):
    rows = b"a 1,b,c\na 2,b,c\n"
    assert "the first line of a CSV names its columns: add that line" in refusal(rows, "pairs.csv").hint
    assert refusal(b"sep=,\nprompt,chosen,rejected\n" + rows, "pairs.csv").hint == "remove the first line"
    assert refusal(b"\nprompt,chosen,rejected\n" + rows, "pairs.csv").hint == "remove the first line"


def test_the_accepted_forms_are_all_told(refusal):
    assert "accepted: .jsonl, .json, .csv and .tsv, also as .gz or .zst, .parquet and .arrow" in refusal(b"words\n", "pairs").hint


def test_a_text_with_some_control_characters_is_text(prepare, good):
    lines = [f"{row['prompt']} \x07\x0c,{row['chosen']},{row['rejected']}\n" for row in good(40)]
    assert prepare("".join(["prompt,chosen,rejected\n", *lines]).encode(), "pairs.csv").metrics.dropped == {}
