"""The newest checkpoint is whole, whatever happened while it was written."""

import pytest

from ser_core.api.status import StageKind
from ser_core.store.checkpoints import CheckpointStore


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


def test_a_damaged_newest_falls_back_to_the_one_before(store, identity, files, tmp_path):
    checkpoints = open_checkpoints(store, identity)
    checkpoints.save(10, files(10))
    checkpoints.save(20, files(20))
    damaged = next(found.key for found in store.list("") if "/00000020-" in found.key)
    store.put(damaged, b"damaged")
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
