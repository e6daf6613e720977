"""The processes of a pod download and verify each input and each checkpoint once, by its content."""

from dataclasses import replace

import pytest

from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.errors import CorruptObject
from ser_core.store.objects.file import FileStore


class CountingStore(FileStore):
    """Counts what is downloaded."""

    def __init__(self, root):
        super().__init__(root)
        self.downloaded = []

    def download(self, key, path, *alive):
        self.downloaded.append(key)
        super().download(key, path, *alive)


@pytest.fixture
def pod(workshop, tmp_path):
    """Contexts of two processes of one pod, which see one store."""
    workshop.store = CountingStore(tmp_path / "store")
    context = workshop.context(StageKind.RETRAIN)
    return [replace(context, shared_inputs=tmp_path / "inputs", rank=rank, world_size=2) for rank in range(2)]


def test_a_checkpoint_is_downloaded_once(pod, tmp_path):
    state = tmp_path / "state.safetensors"
    state.write_text("weights and moments")
    pod[0].checkpoints.save(7, {"state.safetensors": state})
    found = [context.newest_checkpoint() for context in pod]
    assert [(step, files["state.safetensors"].read_text()) for step, files in found] == [(7, "weights and moments")] * 2
    assert len(pod[0].store.downloaded) == 1


def test_a_damaged_checkpoint_falls_back_to_the_one_before(pod, tmp_path):
    for step in (1, 2):
        (tmp_path / "state").write_text(f"state of {step}")
        pod[0].checkpoints.save(step, {"state": tmp_path / "state"})
    (newest,) = (entry.key for entry in pod[0].store.list(f"{pod[0].checkpoints.prefix}/00000002"))
    pod[0].store.put(newest, b"damaged")
    assert [context.newest_checkpoint()[0] for context in pod] == [1, 1]


def test_what_two_inputs_share_is_downloaded_once(pod):
    prepared = pod[0].inputs[InputRole.PREPARED]
    both = {InputRole.PREPARED: prepared, InputRole.LABELER: prepared}
    folders = [replace(context, inputs=both).fetch_folder(role, "model") for context in pod for role in both]
    assert all((folder / "config.json").read_bytes() == (folders[0] / "config.json").read_bytes() for folder in folders)
    assert len(pod[0].store.downloaded) == len({part.sha256 for name, part in prepared.outputs.items() if name.startswith("model/")})


def test_an_input_that_stays_damaged_is_refused_each_time(pod):
    part = pod[0].inputs[InputRole.PREPARED].outputs["pool.parquet"]
    pod[0].store.put(part.key, b"damaged")
    for context in pod:
        with pytest.raises(CorruptObject):
            context.fetch(InputRole.PREPARED, "pool.parquet")
