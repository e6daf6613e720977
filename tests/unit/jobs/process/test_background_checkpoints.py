"""A checkpoint whose upload still runs is never lost and never read in part, and a failed upload is reported."""

import threading

import pytest

from ser_core.api.stage import RunIdentity
from ser_core.api.status import StageKind
from ser_core.errors import StoreError
from ser_core.store.objects.file import FileStore
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_jobs.process.background_checkpoints import BackgroundCheckpoints

RUN = RunIdentity(namespace="default", name="run", uid="uid-1")


class SlowStore(FileStore):
    """Uploads wait until they are let through; then they fail if that is wanted."""

    def __init__(self, root):
        super().__init__(root)
        self.gate, self.refuses = threading.Event(), False

    def upload(self, key, path, *alive):
        assert self.gate.wait(60)
        if self.refuses:
            raise StoreError("the store is full", hint="make room")
        super().upload(key, path, *alive)


@pytest.fixture
def store(tmp_path):
    return SlowStore(tmp_path / "store")


@pytest.fixture
def checkpoints(store, tmp_path):
    return BackgroundCheckpoints(CheckpointStore(store, RUN, 1, StageKind.RETRAIN), tmp_path / "under-way")


def save(checkpoints, folder, step):
    path = folder / "state"
    path.write_text(f"state of {step}")
    checkpoints.save(step, {"state": path})


def test_the_stage_goes_on_while_a_checkpoint_is_uploaded(store, checkpoints, tmp_path):
    save(checkpoints, tmp_path, 1)
    assert CheckpointStore(store, RUN, 1, StageKind.RETRAIN).newest_step() is None
    (tmp_path / "state").write_text("what the stage writes next")
    store.gate.set()
    step, files = checkpoints.newest(tmp_path / "in")
    assert (step, files["state"].read_text()) == (1, "state of 1")


def test_every_checkpoint_is_whole_before_the_next_begins(store, checkpoints, tmp_path):
    store.gate.set()
    for step in range(1, 6):
        save(checkpoints, tmp_path, step)
    assert checkpoints.newest(tmp_path / "in")[0] == 5


def test_the_processor_time_of_an_upload_is_known_once_it_has_ended(store, checkpoints, tmp_path):
    store.gate.set()
    assert checkpoints.beside == 0
    save(checkpoints, tmp_path, 1)
    checkpoints.wait()
    assert checkpoints.beside > 0


def test_a_failed_upload_is_told_at_the_next_save(store, checkpoints, tmp_path):
    store.refuses = True
    store.gate.set()
    save(checkpoints, tmp_path, 1)
    with pytest.raises(StoreError, match="the store is full"):
        save(checkpoints, tmp_path, 2)


def test_deleting_all_waits_for_what_is_under_way_in_parts_too(store, checkpoints, tmp_path):
    save(checkpoints.of("shard-0"), tmp_path, 1)
    threading.Timer(0.05, store.gate.set).start()
    checkpoints.delete_all()
    assert list(store.list("")) == []
