"""Which folders of runs that are gone may be deleted: none that is not certainly a run's of this cluster, old, and of no use to another."""

from dataclasses import replace

import pytest

from ser_core.api.cluster_identity import cluster_identity
from ser_core.api.stage import RunIdentity
from ser_core.store.objects.file import FileStore
from ser_core.store.runs.followers import purge_mark
from ser_core.store.runs.leader import leader_key
from ser_core.store.runs.orphans import Present, RunFolder, delete_folder, run_folders, why_kept
from ser_core.store.runs.owner import mark_owner, owner_of

RUN = RunIdentity(namespace="lab", name="hh", uid="u-1")
OTHER = RunIdentity(namespace="lab", name="second", uid="u-2")
GONE = RunFolder(RUN, objects=3, bytes=5, modified=1000.0, owner="here")
NOTHING = {"lab": Present(uids=(), wanted=())}


def verdict(folder=GONE, *others, cluster="here", present=NOTHING, older_than=100.0, now=2000.0):
    return why_kept(folder, (folder, *others), cluster, present, older_than, now)


def test_an_old_folder_of_a_run_that_is_gone_may_be_deleted():
    assert verdict() == ""
    assert verdict(present={"lab": Present(uids=("another",), wanted=("another",))}) == ""


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (verdict(replace(GONE, owner="")), "nothing says whose it is"),
        (verdict(replace(GONE, owner="there")), "another cluster"),
        (verdict(cluster=""), "another cluster"),
        (verdict(present={}), "may not be listed"),
        (verdict(present={"lab": Present(uids=("u-1",), wanted=())}), "its SERRun exists"),
        (verdict(replace(GONE, owner=""), present={"lab": Present(uids=("u-1",), wanted=())}), "its SERRun exists"),
        (verdict(now=1050.0), "written to lately"),
        (verdict(replace(GONE, followers=("second",))), "second took stages over"),
        (verdict(GONE, RunFolder(OTHER, 1, 1, 0.0, "", leader="u-1")), "second took stages over"),
        (verdict(present={"lab": Present(uids=(), wanted=("hh",))}), "spec.from"),
        (verdict(present={"lab": Present(uids=(), wanted=("u-1",))}), "spec.from"),
    ],
)
def test_whatever_is_not_certain_stays(kept, why):
    assert why in kept


@pytest.fixture
def store(tmp_path):
    store = FileStore(tmp_path)
    store.put("lab/hh/u-1/iter-0000/prepare/MANIFEST.json", b"{}")
    mark_owner(store, RUN, "here")
    return store


def test_folders_are_found_with_their_owner_and_leader(store):
    store.put(leader_key(OTHER), RUN.model_dump_json(by_alias=True).encode())
    found = {folder.run.uid: (folder.owner, folder.leader, folder.objects) for folder in run_folders(store)}
    assert found == {"u-1": ("here", "", 2), "u-2": ("", "u-1", 1)}


def test_a_mark_once_written_stays(store):
    mark_owner(store, RUN, "there")
    assert owner_of(store, RUN) == "here"


def test_deleting_takes_one_runs_folder_and_leaves_its_namesakes(store):
    store.put("lab/hh/u-3/x", b"")
    assert delete_folder(store, RUN)
    assert [entry.key for entry in store.list("")] == ["lab/hh/u-3/x"]


def test_a_run_that_another_has_just_begun_to_use_stays_whole(store):
    store.put(leader_key(OTHER), RUN.model_dump_json(by_alias=True).encode())
    store.put("lab/hh/u-1/followers/u-2.json", OTHER.model_dump_json(by_alias=True).encode())
    before = [entry.key for entry in store.list("")]
    assert not delete_folder(store, RUN)
    assert [entry.key for entry in store.list("")] == before


@pytest.mark.parametrize("deletions", range(3))
def test_an_interrupted_deletion_can_be_repeated(store, deletions, monkeypatch):
    delete, left = store.delete, [deletions]

    def mortal(key):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        delete(key)

    monkeypatch.setattr(store, "delete", mortal)
    with pytest.raises(KeyboardInterrupt):
        delete_folder(store, RUN)
    assert owner_of(store, RUN) == "here"
    monkeypatch.setattr(store, "delete", delete)
    assert delete_folder(store, RUN)
    assert list(store.list("")) == []
    assert purge_mark("lab", "hh") not in [entry.key for entry in store.list("")]


def test_a_cluster_is_known_by_its_authorities_however_they_are_written():
    one, two = (f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n" for text in ("AAAA", "BBBB"))
    assert cluster_identity(one + two) == cluster_identity(f"# names\n{two}\r\n{one}".replace("\n", "\r\n"))
    assert cluster_identity(one) != cluster_identity(two)
    assert cluster_identity("") == ""


@pytest.mark.parametrize("told", [b"{", b'{"namespace": "..", "name": "..", "uid": "x"}'])
def test_a_reference_that_names_no_run_keeps_its_folder_and_no_other(store, told):
    store.put("lab/hh/u-1/followers/x.json", told)
    mark_owner(store, OTHER, "here")
    assert {folder.run.uid: why_kept(folder, (folder,), "here", NOTHING, 0.0, 4e9) for folder in run_folders(store)} == {
        "u-1": "a run that cannot be told took stages over from it",
        "u-2": "",
    }
