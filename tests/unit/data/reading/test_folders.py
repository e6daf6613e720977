"""What a folder holds beside its data: the same is read of it wherever it lies, and nothing of it ends in a traceback."""

import io
import json
import os
from pathlib import PurePosixPath

import pyarrow as pa
import pytest
from pyarrow import feather

from ser_core.data.reading import data_files, source_remarks, sources
from ser_core.data.reading.sources import choose_train_files


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def save_to_disk(folder, rows, files=("data-00000-of-00001.arrow",), listed=None):
    """As datasets 4 writes it."""
    folder.mkdir(parents=True)
    for number, name in enumerate(files):
        table = pa.Table.from_pylist(rows[number :: len(files)])
        with pa.ipc.new_stream(str(folder / name), table.schema) as writer:
            writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in listed or files], "_split": "train"}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    return folder


def test_a_folder_of_save_to_disk_is_read(prepare, tmp_path, good):
    assert (
        prepare(save_to_disk(tmp_path / "saved", good(40), ("data-00000-of-00002.arrow", "data-00001-of-00002.arrow"))).metrics.rows == 40
    )


def test_its_caches_and_what_an_earlier_save_left_are_not_read(prepare, tmp_path, good):
    stray = ("data-00000-of-00001.arrow", "cache-1f3a.arrow", "data-00001-of-00002.arrow")
    assert prepare(save_to_disk(tmp_path / "saved", good(120), stray, stray[:1])).metrics.rows == 40


def test_of_several_saved_splits_train_is_read(prepare, tmp_path, good):
    save_to_disk(tmp_path / "saved" / "train", good(40))
    save_to_disk(tmp_path / "saved" / "test", good(20))
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert prepare(tmp_path / "saved").metrics.rows == 40


def test_a_saved_dataset_that_is_not_whole_is_refused(refusal, tmp_path, good):
    folder = save_to_disk(tmp_path / "saved", good(40), listed=("data-00000-of-00001.arrow", "data-00001-of-00001.arrow"))
    assert "state.json names data-00001-of-00001.arrow, which is not there" in refusal(folder).message


def test_saved_splits_of_training_are_told_by_their_folders(prepare, tmp_path, good):
    save_to_disk(tmp_path / "saved" / "train_prefs", good(40))
    save_to_disk(tmp_path / "saved" / "train_sft", good(60)[40:])
    assert [one for one in prepare(tmp_path / "saved").metrics.warnings if "the splits train_prefs, train_sft are read" in one]


def test_splits_of_training_are_told_by_their_folders_where_all_files_are_named_train(prepare, write, good):
    write(good(40), "hub/train_prefs/train-00000-of-00001.jsonl")
    folder = write(good(80)[40:], "hub/train_sft/train-00000-of-00001.jsonl").parents[1]
    assert [one for one in prepare(folder).metrics.warnings if "the splits train_prefs, train_sft are read" in one]
    assert prepare(folder, split="train_sft").metrics.rows == 40


def test_of_the_hubs_cache_one_commit_has_to_be_named(refusal, prepare, write, good):
    write(good(80)[40:], f"cache/snapshots/{'a' * 40}/train.jsonl")
    folder = write(good(40), f"cache/snapshots/{'b' * 40}/train.jsonl").parents[2]
    error = refusal(folder)
    assert (f"snapshots/{'a' * 40}, snapshots/{'b' * 40}" in error.message, "data.source.path" in error.hint) == (True, True)
    assert prepare(folder, path=f"snapshots/{'b' * 40}").metrics.rows == 40
    assert f"2 commits of one dataset, as the hub's cache keeps them: {'a' * 40}, {'b' * 40}" in refusal(folder / "snapshots").message
    assert prepare(folder / "snapshots", path="b" * 40).metrics.rows == 40


def test_files_beside_a_subfolder_have_the_name_of_the_whole_as_source(access, write, tmp_path):
    write(b"{}", "mine/a.jsonl")
    write(b"{}", "mine/sub/b.jsonl")
    found = sources.open_source(f"file://{tmp_path}/in/mine", access, tmp_path / "d", lambda: None)
    assert found.names() == {"a.jsonl": "mine", "sub/b.jsonl": "sub"}


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.jsonl",
        "_SUCCESS",
        "_temporary/part-0.jsonl",
        "_delta_log/00000.json",
        "a/.cache/part.jsonl",
        "dataset_info.json",
        "state.json",
    ],
)
def test_what_programs_keep_for_themselves_is_no_data(name):
    assert choose_train_files(("part-0.jsonl", name)) == (("part-0.jsonl",), ())


def test_empty_parts_are_left_out_and_told(prepare, write, good):
    write(b"", "out/part-0.jsonl")
    write(b"\n", "out/part-1.jsonl")
    prepared = prepare(write(good(40), "out/part-2.jsonl").parent)
    assert prepared.metrics.rows == 40
    assert "1 file of 0 bytes left out, for example part-0.jsonl" in prepared.metrics.warnings


def test_files_of_rows_that_are_not_read_are_told(prepare, write, good):
    folder = write(good(40), "shards/part-0.jsonl").parent
    for name in ("part-1.jsonl.xz", "part-2.xls", "part-4.pq", "part-5.jsonl.crdownload", ".part-3.zip", "LICENSE.txt"):
        (folder / name).write_bytes(b"x")
    told = [one for one in prepare(folder).metrics.warnings if "of a kind that is not read" in one]
    assert [one.partition(":")[0] for one in told] == ["4 files of a kind that is not read left out, for example part-1.jsonl.xz"]


def test_a_shard_that_is_not_there_is_told(prepare, write, good):
    def told(folder, **place):
        return [one for one in prepare(folder, **place).metrics.warnings if "not there" in one]

    for number in (0, 2):
        write(good(80)[40 * (number > 0) :][:40], f"shards/data/train-{number:05d}-of-00003.jsonl")
    folder = write(good(1), "shards/data/other-00001-of-00001.jsonl").parent.parent
    name = "train-00001-of-00003.jsonl"
    assert told(folder) == [f"1 shard that the names count not there, for example {name}: copy the data again, if all are meant"]
    assert told(folder / "data" / "train-00000-of-00003.jsonl") == []
    write(good(1), f"shards/more/{name}")
    assert told(folder) == told(folder, path="data/train-00000-of-00003.jsonl") == []


def test_the_work_for_each_of_many_files_does_not_grow_with_their_number(monkeypatch, prepare, write):
    parsed = []
    for module in (sources, data_files, source_remarks):
        monkeypatch.setattr(module, "PurePosixPath", lambda name: parsed.append(name) or PurePosixPath(name))
    rows = [{"prompt": f"q {number}", "chosen": f"good {number}", "rejected": f"bad {number}"} for number in range(200)]
    paths = [write([row], f"many/of/{number % 7}/part-{number}.jsonl") for number, row in enumerate(rows)]
    assert prepare(paths[0].parents[1]).metrics.rows == 200
    assert len(parsed) < 20 * 200


def test_a_named_file_is_not_told_as_left_out(prepare, good):
    table = io.BytesIO()
    feather.write_feather(pa.Table.from_pylist(good(40)), table)
    assert not [one for one in prepare(table.getvalue(), "pairs.feather").metrics.warnings if "left out" in one]


def test_a_delta_table_is_told(prepare, write, good):
    write(b"{}", "table/_delta_log/00000.json")
    warnings = prepare(write(good(40), "table/part-0.jsonl").parent).metrics.warnings
    assert any("is a Delta table: all its files are read" in warning for warning in warnings)


def test_linked_folders_are_read_once(prepare, write, tmp_path, good):
    elsewhere = write(good(40), "elsewhere/part-0.jsonl").parent
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "linked").symlink_to(elsewhere)
    (folder / "circle").symlink_to(folder)
    assert prepare(folder).metrics.rows == 40


def test_a_pipe_is_no_data_and_refused(refusal, write, good):
    folder = write(good(40), "pipes/part-0.jsonl").parent
    os.mkfifo(folder / "part-1.jsonl")
    assert "part-1.jsonl is neither a file nor a folder" in refusal(folder).message
    assert "is neither a file nor a folder" in refusal(folder / "part-1.jsonl").message


@pytest.mark.parametrize("name", [b"part\xff.jsonl", b"part\n.jsonl"])
def test_a_name_that_is_no_text_is_told(refusal, write, good, name):
    folder = write(good(40), "odd/part-0.jsonl").parent
    (folder / os.fsdecode(name)).touch()
    assert "whose name cannot be written as text" in refusal(folder).message


def test_a_path_that_no_system_takes_is_told(refusal, tmp_path):
    assert refusal(tmp_path / ("x" * 300)).reason == "DataNotFound"


def test_a_large_row_of_small_parts_is_dropped(prepare, good):
    large = b'{"prompt": "a", "chosen": "b", "rejected": "c", "extra": [' + b"[]," * 600_000 + b"[]]}\n"
    assert prepare(lines(good(40)) + large).metrics.dropped == {"TooLarge": 1}
