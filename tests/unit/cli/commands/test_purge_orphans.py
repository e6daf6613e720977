"""`ser purge --orphans` against a small API server and a folder."""

import os

import pytest

from ser_core.api.cluster_identity import cluster_identity
from ser_core.api.stage import RunIdentity
from ser_core.cli.commands.changing.purge_orphans import age_seconds
from ser_core.errors import UsageError
from ser_core.store.objects.file import FileStore
from ser_core.store.runs.owner import mark_owner

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
ROOT = "/api/v1/namespaces/lab/configmaps/kube-root-ca.crt"


@pytest.fixture
def store(tmp_path, api):
    api.answers[ROOT] = {"data": {"ca.crt": PEM}}
    store = FileStore(tmp_path / "store")
    for name, uid in (("gone", "u-1"), ("lives", "u-2")):
        run = RunIdentity(namespace="lab", name=name, uid=uid)
        mark_owner(store, run, cluster_identity(PEM))
        store.put(f"lab/{name}/{uid}/iter-0000/prepare/MANIFEST.json", b"{}")
    store.put("lab/local/u-3/model", b"")
    for name in ("local", "lives"):
        store.put(f"lab/{name}/LOCK.json", b"{}")
    api.answers[api.runs()] = {"items": [{"metadata": {"name": "lives", "uid": "u-2"}, "spec": {}}]}
    for path in (tmp_path / "store").rglob("*"):
        os.utime(path, (0, 0))
    return store


def keys(store):
    return {entry.key.split("/")[1] for entry in store.list("")}


def orphans(ser, tmp_path, *more):
    return ser("purge", "--orphans", "--storage", f"file://{tmp_path}/store", *more)


def test_what_would_go_is_listed_and_nothing_is_deleted(ser, store, tmp_path):
    ended = orphans(ser, tmp_path)
    assert ended.code == 0
    assert [line.split()[0] for line in ended.err.splitlines()[:3]] == ["delete", "keep", "keep"]
    assert "with --yes these 1 go" in ended.err
    assert keys(store) == {"gone", "lives", "local"}


def test_with_yes_only_the_run_that_is_gone_goes(ser, store, tmp_path):
    assert "deleted 2 objects of 1 runs" in orphans(ser, tmp_path, "--yes").err
    assert keys(store) == {"lives", "local"}
    assert "nothing to delete" in orphans(ser, tmp_path, "--yes").err


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (ROOT, {"data": {"ca.crt": PEM.replace("A", "B")}}),
        (ROOT, (404, {"message": "not found"})),
        ("/apis/ser.dev/v1alpha1/namespaces/lab/serruns", (403, {"message": "forbidden"})),
        ("/apis/ser.dev/v1alpha1/namespaces/lab/serruns", (404, {"message": "could not find the requested resource"})),
        ("/apis/ser.dev/v1alpha1/namespaces/lab/serruns", (500, {"message": "etcd"})),
    ],
    ids=["another cluster", "no authorities", "forbidden", "no CRD", "failing"],
)
def test_a_cluster_that_does_not_tell_which_runs_are_gone_keeps_them_all(ser, store, api, tmp_path, path, answer):
    api.answers[path] = answer
    orphans(ser, tmp_path, "--yes")
    assert keys(store) == {"gone", "lives", "local"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--orphans"], "--storage"),
        ([], "one of both"),
        (["x.yaml", "--orphans", "--storage", "file:///x"], "one of both"),
        (["--orphans", "--storage", "http://x"], "--storage: "),
        (["--orphans", "--storage", "file:///x", "--older-than", "7"], "--older-than"),
    ],
)
def test_what_is_asked_wrongly_is_told(ser, arguments, told):
    ended = ser("purge", *arguments)
    assert (ended.code, told in ended.err) == (2, True)


@pytest.mark.parametrize("level", ["", "/store/lab", "/store/lab/gone"])
def test_another_folder_than_the_runs_named_is_told(ser, store, tmp_path, level):
    ended = ser("purge", "--orphans", "--storage", f"file://{tmp_path}{level}")
    assert "holds no run of a cluster; --storage takes what storage.uri" in ended.err


def test_a_folder_with_the_uid_of_a_run_that_lives_does_not_take_that_one_along(ser, store, tmp_path, api):
    twin = RunIdentity(namespace="other", name="twin", uid="u-2")
    mark_owner(store, twin, cluster_identity(PEM))
    os.utime(tmp_path / "store" / "other" / "twin" / "u-2" / "OWNER.json", (0, 0))
    orphans(ser, tmp_path, "--yes")
    assert "lab/lives/u-2/iter-0000/prepare/MANIFEST.json" in {entry.key for entry in store.list("")}
    assert "twin" not in keys(store)


@pytest.mark.parametrize("namespace", ["lab?x", "..%2fx", "a\nkeep    all"])
def test_a_folder_whose_name_is_no_namespaces_stays_and_is_told_in_one_line(ser, store, tmp_path, namespace):
    mark_owner(store, RunIdentity(namespace=namespace, name="gone", uid="u-9"), cluster_identity(PEM))
    os.utime(tmp_path / "store" / namespace / "gone" / "u-9" / "OWNER.json", (0, 0))
    ended = orphans(ser, tmp_path, "--yes")
    assert (tmp_path / "store" / namespace / "gone").exists()
    assert len([line for line in ended.err.splitlines() if line.startswith(("keep  ", "delete  "))]) == 4


def test_ages_are_days_or_durations():
    assert (age_seconds("7d"), age_seconds("36h")) == (604_800, 129_600)
    with pytest.raises(UsageError, match="older-than"):
        age_seconds("soon")
