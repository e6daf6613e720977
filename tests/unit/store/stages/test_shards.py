"""A stage is put together only of parts that are whole and committed."""

import pytest

from ser_core.api.status import StageKind
from ser_core.errors import CorruptObject, SpecError
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.shards import Shard, ShardStore


@pytest.fixture
def shards(store, identity):
    def open_as(writer, attempt=1):
        return ShardStore(store, CheckpointStore(store, identity, 1, StageKind.LABEL), attempt, writer)

    return open_as


def write(folder, text):
    path = folder / text
    path.write_text(text)
    return {"part": path}


def texts(found):
    return None if found is None else [(part.files["part"].read_text(), part.counts["rows"]) for part in found]


def test_all_parts_are_found_once_the_last_is_committed(shards, tmp_path):
    first, second = Shard(0, 2).all()
    shards("a").commit(second, write(tmp_path, "two"), {"rows": 2})
    assert (shards("a").has(first), shards("b").has(second)) == (False, True)
    assert shards("a").collect(second, tmp_path) is None
    shards("b").commit(first, write(tmp_path, "one"), {"rows": 1})
    assert texts(shards("b").collect(first, tmp_path)) == [("one", 1), ("two", 2)]


def test_the_first_to_commit_a_part_stands(shards, tmp_path):
    only = Shard(0, 1)
    shards("a").commit(only, write(tmp_path, "first"), {"rows": 1})
    shards("b", attempt=2).commit(only, write(tmp_path, "later"), {"rows": 1})
    assert texts(shards("c").collect(only, tmp_path)) == [("first", 1)]


def test_parts_of_another_cut_do_not_count(shards, tmp_path):
    shards("a").commit(Shard(0, 3), write(tmp_path, "one"), {"rows": 1})
    assert shards("a").collect(Shard(0, 1), tmp_path) is None


def test_a_damaged_part_is_not_used(shards, store, identity, tmp_path):
    shards("a").commit(Shard(0, 1), write(tmp_path, "one"), {"rows": 1})
    key = next(info.key for info in store.list("") if info.key.endswith("/part"))
    store.put(key, b"ONE")
    with pytest.raises(CorruptObject):
        shards("b").collect(Shard(0, 1), tmp_path / "in")


def test_parts_go_with_the_checkpoints_of_their_stage(shards, store, identity, tmp_path):
    shards("a").commit(Shard(0, 1), write(tmp_path, "one"), {"rows": 1})
    checkpoints = CheckpointStore(store, identity, 1, StageKind.LABEL)
    checkpoints.of("shard-0000-of-0001").save(1, write(tmp_path, "state"))
    checkpoints.delete_all()
    assert list(store.list("")) == []


def test_a_part_that_was_changed_writes_nothing_outside_of_its_folder(shards, store, tmp_path):
    shards("a").commit(Shard(0, 1), write(tmp_path, "one"), {"rows": 1})
    key = next(info.key for info in store.list("") if info.key.endswith("0001.json"))
    store.put(key, store.get(key).replace(b'"writer":"a"', f'"writer":"{tmp_path}/home"'.encode()))
    with pytest.raises(SpecError, match="leaves the folder"):
        shards("b").collect(Shard(0, 1), tmp_path / "in")
    assert not (tmp_path / "home").exists()
