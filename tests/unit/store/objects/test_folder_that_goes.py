"""A store's folder that is gone, as when its file system is not mounted, is no empty store."""

import pytest

from ser_core.api.spec.storage import StorageSpec
from ser_core.errors import StoreError
from ser_core.store.objects.connect import connect


def calls(tmp_path):
    (tmp_path / "local").write_text("x")
    return {
        "get": lambda store: store.get("a/b"),
        "beginning": lambda store: store.beginning("a/b", 3),
        "put": lambda store: store.put("a/b", b"x"),
        "create": lambda store: store.create("a/b", b"x"),
        "upload": lambda store: store.upload("a/b", tmp_path / "local"),
        "download": lambda store: store.download("a/b", tmp_path / "copy"),
        "list": lambda store: list(store.list("a/")),
        "folders": lambda store: list(store.folders("a/")),
        "delete": lambda store: store.delete("a/b"),
    }


@pytest.mark.parametrize("name", ["get", "beginning", "put", "create", "upload", "download", "list", "folders", "delete"])
def test_every_call_says_that_the_folder_is_gone_and_none_makes_it_anew(tmp_path, name):
    storage = StorageSpec(uri=f"file://{tmp_path}/store")
    connect(storage).put("a/b", b"1")
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(StoreError, match="store is gone") as told:
        calls(tmp_path)[name](connect(storage, stands=True))
    assert (told.value.reason, told.value.exit_code) == ("StoreUnavailable", 20)
    assert not (tmp_path / "store").exists()


def test_a_new_run_makes_the_folder(tmp_path):
    connect(StorageSpec(uri=f"file://{tmp_path}/new/store")).put("a/b", b"1")
    assert (tmp_path / "new" / "store" / "a" / "b").read_bytes() == b"1"
