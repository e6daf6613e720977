"""The newest checkpoint is whole, whatever happened while it was written."""

import hashlib
import json

import pytest

from ser_core.api.status import StageKind
from ser_core.store.stages.checkpoints import CheckpointStore, Together


@pytest.fixture
def files(tmp_path):
    def make(text):
        folder = tmp_path / f"source-{text}"
        folder.mkdir(exist_ok=True)
        for name in ("weights", "state"):
            (folder / name).write_text(f"{name} of {text}")
        return {name: folder / name for name in ("weights", "state")}

    return make


def open_checkpoints(store, identity):
    return CheckpointStore(store, identity, 1, StageKind.RETRAIN)


def content(found):
    return None if found is None else (found[0], {name: path.read_text() for name, path in found[1].items()})


def test_the_newest_of_several_is_read_back(store, identity, files, tmp_path):
    checkpoints = open_checkpoints(store, identity)
    assert (checkpoints.newest(tmp_path), checkpoints.newest_step()) == (None, None)
    for step in (10, 20, 30):
        checkpoints.save(step, files(step))
    assert content(checkpoints.newest(tmp_path / "in")) == (30, {"weights": "weights of 30", "state": "state of 30"})
    assert len(list(store.list(""))) == 5  # two checkpoints of two files, and the index


@pytest.mark.parametrize("harm", [lambda store, key: store.put(key, b"damaged"), lambda store, key: store.delete(key)])
def test_a_newest_with_a_damaged_or_lost_part_falls_back_to_the_one_before(store, identity, files, tmp_path, harm):
    checkpoints = open_checkpoints(store, identity)
    checkpoints.save(10, files(10))
    checkpoints.save(20, files(20))
    harm(store, next(found.key for found in store.list("") if "/00000020-" in found.key))
    assert content(checkpoints.newest(tmp_path / "in")) == (10, {"weights": "weights of 10", "state": "state of 10"})


def test_killed_at_any_operation_of_a_save_the_newest_is_the_old_or_the_new(store, identity, files, tmp_path, faulty, killed):
    outcomes, kill_at = [], 0
    while True:
        open_checkpoints(store, identity).delete_all()
        open_checkpoints(store, identity).save(1, files(1))
        open_checkpoints(store, identity).save(2, files(2))
        try:
            open_checkpoints(faulty(store, kill_at=kill_at // 2, after=bool(kill_at % 2)), identity).save(3, files(3))
            break
        except killed:
            found = content(open_checkpoints(store, identity).newest(tmp_path / f"in-{kill_at}"))
            assert found in [(step, {"weights": f"weights of {step}", "state": f"state of {step}"}) for step in (2, 3)]
            outcomes.append(found[0])
        kill_at += 1
    assert outcomes == sorted(outcomes)
    assert {2, 3} == set(outcomes)


def test_a_stage_whose_checkpoints_are_removed_begins_anew(store, identity, files, tmp_path):
    open_checkpoints(store, identity).save(10, files(10))
    for found in [found for found in store.list("") if "/checkpoints/" in found.key]:
        store.delete(found.key)
    checkpoints = open_checkpoints(store, identity)
    assert (checkpoints.newest(tmp_path / "in"), checkpoints.newest_step()) == (None, None)


def test_delete_all_leaves_nothing(store, identity, files):
    checkpoints = open_checkpoints(store, identity)
    checkpoints.save(1, files(1))
    checkpoints.delete_all()
    assert list(store.list("")) == []


def test_a_checkpoint_of_several_processes_is_whole_when_all_have_saved(store, identity, files, tmp_path):
    ranks = [open_checkpoints(store, identity) for _ in range(3)]
    for step in (10, 20, 30):
        for rank in (0, 2, 1):
            assert ranks[0].newest_step() == (step - 10 or None)
            ranks[rank].save(step, files(10 * step + rank), Together(rank, 3, f"save-{step}"))
    step, found = ranks[1].newest(tmp_path / "in")
    assert (step, len(found)) == (30, 6)
    assert [found[name].read_text() for name in ("state", "rank-2/state")] == ["state of 300", "state of 302"]
    assert ranks[0].newest_files() == {"weights", "state"}
    assert len(list(store.list(""))) == 1 + 2 * (3 * 2 + 2), "two checkpoints and the index"


def test_one_that_not_all_have_saved_leaves_the_one_before(store, identity, files, tmp_path):
    first, second = open_checkpoints(store, identity), open_checkpoints(store, identity)
    for rank, one in enumerate((first, second)):
        one.save(10, files(10 + rank), Together(rank, 2, "a"))
    first.save(20, files(20), Together(0, 2, "b"))
    assert content(second.newest(tmp_path / "in"))[0] == 10
    first.save(30, files(30))  # by one process alone
    assert content(second.newest(tmp_path / "in"))[0] == 30
    second.delete_all()
    assert list(store.list("")) == []


def test_after_two_that_not_all_have_saved_the_whole_one_is_still_there(store, identity, files, tmp_path):
    """Each attempt was killed between the saves of its processes."""
    for rank in (0, 1):
        open_checkpoints(store, identity).save(10, files(10 + rank), Together(rank, 2, "a"))
    for name in ("b", "c", "d"):
        open_checkpoints(store, identity).save(20, files(20), Together(0, 2, name))
    assert content(open_checkpoints(store, identity).newest(tmp_path / "in"))[0] == 10
    assert len(list(store.list(""))) == 1 + 5 + 2, "index, the whole one, rank 0's files of the newest"


@pytest.mark.parametrize("forge", ["files", "records"])
def test_an_index_that_names_somebody_elses_objects_has_them_neither_read_nor_deleted(store, identity, files, tmp_path, forge):
    checkpoints = open_checkpoints(store, identity)
    checkpoints.save(10, files(10))
    precious = f"{identity.namespace}/another/5f2c/precious"
    store.put(precious, b'{"files": {}}')
    [index] = [entry.key for entry in store.list("") if entry.key.endswith("INDEX.json")]
    document = json.loads(store.get(index))
    newest = document["checkpoints"][0]
    if forge == "files":
        newest["files"]["weights"] |= {"key": precious, "size": 13, "sha256": hashlib.sha256(store.get(precious)).hexdigest()}
    else:
        newest["records"] = [precious]
    store.put(index, json.dumps({"checkpoints": [newest, newest]}).encode())
    assert checkpoints.newest(tmp_path / "in") is None
    for step in (20, 30, 40):
        checkpoints.save(step, files(step))
    assert store.get(precious)
