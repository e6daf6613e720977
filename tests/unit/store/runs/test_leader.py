"""Which run `spec.from` means, and what holds back the purge of a run whose files another one uses."""

import pytest

from ser_core.api.stage import PrepareMetrics, RunIdentity
from ser_core.api.status import StageKind
from ser_core.errors import SpecError
from ser_core.store.runs.followers import followers, lie_outside, purge_mark, refer_back
from ser_core.store.runs.leader import find_leader, leader_key, leader_of
from ser_core.store.runs.purge import purge, refuse_followed
from ser_core.store.stages.commit import commit, upload_outputs
from ser_core.store.stages.manifest import Manifest, OutputFile, run_prefix

FOLLOWER = RunIdentity(namespace="lab", name="hh-1", uid="uid-f")


def run(uid, name="hh", namespace="lab"):
    return RunIdentity(namespace=namespace, name=name, uid=uid)


@pytest.fixture
def prepared(store, tmp_path):
    """Commits the `prepare` of a run that began at a time."""

    def commit_prepare(identity, began="2026-01-01T00:00:00Z"):
        file = tmp_path / "pool.parquet"
        file.write_bytes(b"pool")
        manifest = Manifest(
            run=identity,
            stage=StageKind.PREPARE,
            iteration=0,
            attempt=1,
            writer="w",
            inputs={},
            outputs=upload_outputs(store, identity, 0, StageKind.PREPARE, 1, {"pool.parquet": file}),
            metrics=PrepareMetrics(found="jsonl", rows=1, seed=1, dev=1, pool=1, heldout=1, hidden_labels=True),
            code_version="0",
            seed=0,
            threads=1,
            started_at=began,
            finished_at=began,
        )
        return commit(store, manifest).manifest

    return commit_prepare


def test_a_name_means_its_newest_run(store, prepared):
    for uid, began in (("uid-b", "2026-01-02T00:00:00Z"), ("uid-a", "2026-01-03T00:00:00Z"), ("uid-c", "2026-01-01T00:00:00Z")):
        prepared(run(uid), began)
    store.put(f"{run_prefix(run('uid-d'))}/iter-0000/prepare/attempt-1/log.jsonl", b"")
    assert find_leader(store, FOLLOWER, "hh") == run("uid-a")


def test_a_uid_means_that_run(store, prepared):
    prepared(run("uid-a"))
    prepared(run("uid-b", "other"))
    assert find_leader(store, FOLLOWER, "uid-b") == run("uid-b", "other")


def test_only_the_own_namespace_is_looked_at(store, prepared):
    prepared(run("uid-a", namespace="other"))
    for wanted in ("hh", "uid-a", "other"):
        with pytest.raises(SpecError, match="holds no run") as refused:
            find_leader(store, FOLLOWER, wanted)
        assert refused.value.reason == "RunNotFound"


def test_a_run_never_follows_itself_but_may_follow_an_earlier_one_of_its_name(store, prepared):
    prepared(FOLLOWER)
    for wanted in (FOLLOWER.name, FOLLOWER.uid):
        with pytest.raises(SpecError, match="but this one itself"):
            find_leader(store, FOLLOWER, wanted)
    prepared(run("uid-before", FOLLOWER.name), "2025-01-01T00:00:00Z")
    assert find_leader(store, FOLLOWER, FOLLOWER.name).uid == "uid-before"


def test_the_leader_stays_the_same_when_its_name_is_used_again(store, prepared):
    prepared(run("uid-a"))
    assert leader_of(store, FOLLOWER, "hh") == run("uid-a")
    prepared(run("uid-b"), "2027-01-01T00:00:00Z")
    assert leader_of(store, FOLLOWER, "hh") == run("uid-a")


def test_a_leader_with_followers_is_not_purged_until_they_are(store, prepared):
    outputs = prepared(run("uid-a")).outputs
    leader_of(store, FOLLOWER, "hh")
    assert refer_back(store, FOLLOWER, outputs) == ""
    before = {entry.key for entry in store.list("")}
    with pytest.raises(SpecError, match=r"hh-1 \(uid-f\)") as refused:
        purge(store, "lab", "hh")
    assert refused.value.reason == "HasFollowers"
    assert {entry.key for entry in store.list("")} == before, "nothing was deleted, and no mark is left"
    purge(store, "lab", "hh-1")
    purge(store, "lab", "hh")
    assert list(store.list("")) == []


def test_runs_that_follow_each_other_are_purged_together(store, prepared):
    for one, other in ((run("uid-a"), FOLLOWER), (FOLLOWER, run("uid-a"))):
        assert refer_back(store, one, prepared(other).outputs) == ""
    names = [("lab", "hh"), ("lab", "hh-1")]
    for name in names:
        with pytest.raises(SpecError):
            refuse_followed(store, *name)
    for name in names:
        purge(store, *name, names)
    assert list(store.list("")) == []


def test_followers_of_the_same_name_go_with_it(store, prepared):
    later = run("uid-b")
    assert refer_back(store, later, prepared(run("uid-a")).outputs) == ""
    leader_of(store, later, "uid-a")
    assert followers(store, "lab", "hh") == []


def test_nothing_is_taken_over_from_a_run_that_is_being_purged(store, prepared):
    outputs = prepared(run("uid-a")).outputs
    store.put(purge_mark("lab", "hh"), b"")
    assert refer_back(store, FOLLOWER, outputs) == "hh is being purged"


def test_files_that_are_gone_are_not_taken_over(store, prepared):
    outputs = prepared(run("uid-a")).outputs
    store.delete(outputs["pool.parquet"].key)
    assert refer_back(store, FOLLOWER, outputs) == "pool.parquet is not stored any more"


def test_a_back_reference_lies_in_the_folder_of_the_files(store, prepared):
    """Also where the leader has taken them over itself: its own folder may go."""
    outputs = prepared(run("uid-a")).outputs
    refer_back(store, FOLLOWER, outputs)
    third = run("uid-t", "third")
    store.put(leader_key(third), b"{}")
    refer_back(store, third, outputs)
    assert [one.uid for one in followers(store, "lab", "hh")] == ["uid-t"]
    assert followers(store, "lab", "hh-1") == []


@pytest.mark.parametrize("key", ["other/hh/uid-a/iter-0000/part", "lab/hh/../../other/part", "lab/hh", "lab/hh/uid-a//part"])
def test_files_outside_of_the_namespace_are_seen(key):
    inside = OutputFile(key="lab/hh/uid-a/iter-0000/prepare/attempt-1-x/part", size=1, sha256="a")
    assert not lie_outside("lab", {"part": inside})
    assert lie_outside("lab", {"part": inside, "other": inside.model_copy(update={"key": key})})


def test_folders_are_told_by_name_alone(store):
    for key in ("a/b/c", "a/d", "ab/c"):
        store.put(key, b"")
    assert (list(store.folders("")), list(store.folders("a/")), list(store.folders("a/none/"))) == (["a", "ab"], ["b"], [])
