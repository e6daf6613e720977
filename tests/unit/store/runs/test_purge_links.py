"""A link in a store's folder leads nobody who deletes to files elsewhere."""

import pytest

from ser_core.api.stage import RunIdentity
from ser_core.errors import StoreAccessDenied
from ser_core.store.objects.file import FileStore
from ser_core.store.runs.orphans import delete_folder
from ser_core.store.runs.purge import purge

RUN = RunIdentity(namespace="lab", name="hh", uid="5f2c")


def purge_run(store):
    purge(store, RUN.namespace, RUN.name)


def delete_orphan(store):
    delete_folder(store, RUN)


def tidy_up(store):
    store.abandon("lab/hh/5f2c/stage")


@pytest.fixture
def home(tmp_path):
    """Somebody's files."""
    folder = tmp_path / "home" / "hh" / "5f2c"
    folder.mkdir(parents=True)
    for name in ("precious", ".part-precious"):
        (folder / name).touch()
    return tmp_path / "home"


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("deletes", [purge_run, delete_orphan, tidy_up])
@pytest.mark.parametrize("place", ["lab", "lab/hh", "lab/hh/5f2c"])
def test_what_lies_behind_a_link_stays(tmp_path, home, place, deletes):
    link = tmp_path / "store" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(home.joinpath(*place.split("/")[1:]))
    before = files(home)
    try:
        deletes(FileStore(tmp_path / "store"))
    except StoreAccessDenied as error:
        assert f"{link}" in error.message
        assert "is reached by a link" in error.message
    assert files(home) == before


def test_a_link_inside_of_a_run_is_deleted_and_not_what_it_names(tmp_path, home):
    folder = tmp_path / "store" / "lab" / "hh"
    folder.mkdir(parents=True)
    for name, target in (("folder", home), ("file", home / "hh" / "5f2c" / "precious")):
        (folder / name).symlink_to(target)
    before = files(home)
    purge_run(FileStore(tmp_path / "store"))
    assert files(home) == before
    assert not (folder / "file").is_symlink()


def test_a_store_that_is_reached_by_a_link_is_purged(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = FileStore(tmp_path / "store")
    store.put("lab/hh/run.json", b"{}")
    purge_run(store)
    assert files(tmp_path / "disk") == []
