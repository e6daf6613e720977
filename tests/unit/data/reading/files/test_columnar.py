"""Parquet and Arrow: what is read of them, and that a small file cannot cost much."""

import re
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ser_core.data.reading.files import columnar
from ser_core.data.reading.files.rows import MAX_ROW_BYTES

LONG = "z " * 5_000_000


def columns(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.fixture
def parquet(tmp_path):
    def write(columns, compression="zstd"):
        pq.write_table(pa.table(columns), tmp_path / "pairs.parquet", compression=compression)
        return tmp_path / "pairs.parquet"

    return write


def arrow(path, table, new=pa.ipc.new_stream):
    path.parent.mkdir(parents=True, exist_ok=True)
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return path


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file], ids=["stream", "file"])
def test_arrow_is_read(prepare, good, tmp_path, new):
    assert prepare(arrow(tmp_path / "pairs.arrow", pa.table(columns(good(40))), new)).metrics.rows == 40


def test_a_cut_off_arrow_file_is_refused(refusal, good, tmp_path):
    path = arrow(tmp_path / "pairs.arrow", pa.table(columns(good(40))))
    path.write_bytes(path.read_bytes()[:-300])
    assert refusal(path).reason == "CorruptFile"


@pytest.mark.parametrize(
    "bomb",
    [
        lambda rows: {**rows, "prompt": pa.DictionaryArray.from_arrays(pa.array([0] * 40, pa.int32()), pa.array([LONG]))},
        lambda rows: {**rows, "chosen": [[{"role": "assistant", "content": LONG[:3_000_000]}]] * 40},
        lambda _rows: dict.fromkeys(("prompt", "chosen", "rejected"), pa.nulls(20_000_000)),
    ],
    ids=["one text in every row", "one message in every row", "rows without values"],
)
def test_a_parquet_bomb_is_refused_before_it_fills_anything(refusal, parquet, good, bomb):
    assert refusal(parquet(bomb(columns(good(40))))).reason == "SuspiciousArchive"


FEW = pa.array([0, 5_000_000], pa.int32())
NOTHINGS = pa.ListArray.from_arrays(FEW, pa.nulls(5_000_000))


@pytest.mark.parametrize(
    "bomb",
    [
        NOTHINGS,
        pa.FixedSizeListArray.from_arrays(pa.nulls(5_000_000), 5_000_000),
        pa.ListViewArray.from_arrays(pa.array([0], pa.int32()), pa.array([5_000_000], pa.int32()), pa.nulls(5_000_000)),
        pa.ListArray.from_arrays(FEW, pa.DictionaryArray.from_arrays(pa.array([0] * 5_000_000, pa.int8()), pa.array(["z" * 10**6]))),
        pa.ListArray.from_arrays(FEW, pa.RunEndEncodedArray.from_arrays(pa.array([5_000_000], pa.int32()), pa.array(["z"]))),
        pa.MapArray.from_arrays(pa.array([0, 3_000_000], pa.int32()), pa.array(["a"] * 3_000_000).dictionary_encode(), pa.nulls(3_000_000)),
    ],
    ids=["list", "list of a size", "view", "one text", "one run", "map"],
)
def test_a_list_of_what_takes_no_room_in_a_file_is_not_written_out(refusal, tmp_path, bomb, monkeypatch):
    monkeypatch.setattr(columnar, "_values", lambda _batch: pytest.fail("it was written out"))
    table = pa.table({"prompt": ["a"], "chosen": bomb, "rejected": ["b"]})
    assert refusal(arrow(tmp_path / "pairs.arrow", table)).reason in ("SuspiciousArchive", "TooLarge")


def test_a_parquet_list_of_nulls_is_refused_before_it_is_decoded(refusal, parquet, monkeypatch):
    monkeypatch.setattr(columnar._Parquet, "batches", lambda *_: pytest.fail("it was decoded"))
    nulls = pa.ListArray.from_arrays(FEW, pa.nulls(5_000_000, pa.int64()))
    assert refusal(parquet({"prompt": ["a"], "chosen": nulls, "rejected": ["b"]})).reason == "SuspiciousArchive"


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file], ids=["stream", "file"])
@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_arrow_file_is_read_and_a_bomb_refused_before_it_is_unpacked(
    prepare, refusal, good, tmp_path, new, codec, monkeypatch
):
    options = pa.ipc.IpcWriteOptions(compression=codec)
    small, bomb = pa.table(columns(good(40))), pa.table({**columns(good(40)), "chosen": [LONG] * 40})
    whole = arrow(tmp_path / "small.arrow", small, lambda path, schema: new(path, schema, options=options))
    assert prepare(whole).metrics.rows == 40
    monkeypatch.setattr(columnar._Arrow, "batches", lambda *_: pytest.fail("it was unpacked"))
    path = arrow(tmp_path / "bomb.arrow", bomb, lambda path, schema: new(path, schema, options=options))
    assert refusal(path).reason == "SuspiciousArchive"


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.struct([("role", pa.dictionary(pa.int32(), pa.string())), ("content", pa.string_view())])),
        pa.large_list(pa.struct([("role", pa.large_string()), ("content", pa.string())])),
        pa.list_view(pa.struct([("role", pa.string()), ("content", pa.string())])),
    ],
    ids=str,
)
def test_messages_are_read_however_they_are_kept(prepare, tmp_path, good, kind):
    rows = good(40)
    talks = {
        name: pa.array([[{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[name]}] for row in rows], kind)
        for name in ("chosen", "rejected")
    }
    assert prepare(arrow(tmp_path / "pairs.arrow", pa.table(talks))).metrics.rows == 40


def test_an_arrow_file_that_lists_more_than_it_holds_is_refused(refusal, good, tmp_path):
    path = arrow(tmp_path / "pairs.arrow", pa.table(columns(good(40))), pa.ipc.new_file)
    content = path.read_bytes()
    third = [found.end() for found in re.finditer(b"\xff\xff\xff\xff", content)][2]
    path.write_bytes(content[:third] + bytes(4) + content[third + 4 :])  # a message without length is the stream's end
    assert refusal(path).reason == "CorruptFile"


def test_a_column_that_is_not_used_is_not_decoded(prepare, parquet, good):
    assert prepare(parquet({**columns(good(40)), "thumbnail": [LONG] * 40})).metrics.rows == 40


def test_a_row_above_the_limit_is_dropped_alone(prepare, parquet, good):
    long = {"prompt": "z" * (MAX_ROW_BYTES + 1), "chosen": "a", "rejected": "b"}
    assert prepare(parquet(columns([*good(40), long]), "none")).metrics.dropped == {"TooLarge": 1}


def test_the_columns_of_a_file_without_pairs_are_told(refusal, parquet):
    error = refusal(parquet({"text": ["a"], "label": [1]}))
    assert (error.reason, "'label', 'text'" in error.message) == ("UnknownColumns", True)


def test_a_column_that_occurs_twice_is_refused(refusal, tmp_path):
    table = pa.table([["a"], ["b"], ["c"], ["d"]], names=["prompt", "chosen", "rejected", "prompt"])
    assert refusal(arrow(tmp_path / "pairs.arrow", table)).reason == "DuplicateColumn"


def test_times_that_python_has_no_date_for_are_read(prepare, parquet, good):
    late = pa.array([2**55 + number for number in range(40)], pa.timestamp("ms"))
    assert prepare(parquet({**columns(good(40)), "at": late}), splitBy="at").metrics.rows == 40


def test_a_label_that_is_a_decimal_is_a_label(prepare, parquet, good):
    rows = columns(good(40))
    labels = pa.array([Decimal(1 + number % 2) for number in range(40)])
    path = parquet({"prompt": rows["prompt"], "answer_1": rows["chosen"], "answer_2": rows["rejected"], "better": labels})
    assert prepare(path).metrics.dropped == {}


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()], ids=str)
def test_texts_and_labels_that_are_written_as_bytes_are_read(prepare, parquet, good, kind):
    rows = columns(good(40))
    answers = {"answer_1": rows["chosen"], "answer_2": rows["rejected"], "better": ["AB"[number % 2] for number in range(40)]}
    as_bytes = {name: pa.array([text.encode() for text in texts], kind) for name, texts in {"prompt": rows["prompt"], **answers}.items()}
    found = prepare(parquet(as_bytes))
    as_text = prepare(parquet({"prompt": rows["prompt"], **answers}))
    assert (found.metrics.dropped, found.sides) == ({}, as_text.sides)


def test_messages_that_are_written_as_bytes_are_read(prepare, parquet, good):
    rows = columns(good(40))
    said = {name: [[{"role": b"assistant", "content": text.encode()}] for text in rows[name]] for name in ("chosen", "rejected")}
    assert prepare(parquet({"prompt": rows["prompt"], **said})).metrics.dropped == {}


def test_bytes_that_are_no_text_are_called_so(refusal, parquet, good):
    rows = columns(good(40))
    error = refusal(parquet({**rows, "chosen": [text.encode() + b"\xff" for text in rows["chosen"]]}))
    assert (error.reason, "chosen is bytes that are no UTF-8" in error.message) == ("NotText", True)
