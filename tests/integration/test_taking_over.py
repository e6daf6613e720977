"""`spec.from`: two runs in one store, of which the second takes over what the first has computed from the same."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from comparable import comparable
from integration.test_earlier_version import left  # noqa: F401  a fixture
from integration.test_kill_at_every_store_operation import Killed, MortalStore, run_once, sigterm_restored  # noqa: F401  a fixture

from ser_core.api.spec.storage import StorageSpec
from ser_core.api.stage import Processes, RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import load_run
from ser_core.store.stages.manifest import Manifest
from ser_jobs.process import runtime
from ser_jobs.process.taking_over import look

FILTER, CONTROL = "iter-0001/filter", "iter-0000/control-pseudo-label-once"


def follow(leader, name, edit=lambda spec: None, wanted=None):
    """A SERRun file beside the leader's, in its store."""
    document = yaml.safe_load(leader.file.read_text())
    document["metadata"]["name"] = name
    document["spec"]["from"] = {"run": wanted or "tiny"}
    edit(document["spec"])
    file = leader.file.with_name(f"{name}.yaml")
    file.write_text(yaml.safe_dump(document))
    return replace(leader, file=file)


def manifests(run, name):
    found = run.store.glob(f"default/{name}/*/iter-*/*/MANIFEST.json")
    return {"/".join(path.parts[-3:-1]): Manifest.model_validate_json(path.read_bytes()) for path in found}


def looks_first(spec):
    """As a training on GPUs, whose first attempt only looks. `ser run` has one process all the same."""
    spec["resources"]["retrain"]["gpus"] = 1


def other_loop(spec):
    """Filters with another precision, which keeps the same pairs, and has one more control."""
    looks_first(spec)
    spec["loop"]["thresholds"] = {"targetPrecision": 0.6}
    spec["loop"]["controls"] = ["seedOnly", "pseudoLabelOnce"]


@pytest.fixture(scope="module")
def leader(tmp_path_factory, make_run):
    run = make_run(tmp_path_factory.mktemp("leader"), looks_first)
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return run


@pytest.fixture(scope="module")
def follower(leader):
    """A run that differs late."""
    run = follow(leader, "follower", other_loop)
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return run


def test_what_does_not_depend_on_the_change_is_taken_over_and_the_rest_says_why_not(leader, follower):
    theirs, own = manifests(leader, "tiny"), manifests(follower, "follower")
    computed = {place: manifest.take_over.why for place, manifest in own.items() if manifest.take_over.manifest is None}
    assert computed == {FILTER: "loop.thresholds.targetPrecision is 0.6, there left out", CONTROL: "it has not committed this stage"}
    assert own.keys() == {*theirs, CONTROL}
    assert all(own[place].outputs == theirs[place].outputs for place in own if place not in computed), "not one byte was copied"
    assert own[FILTER].outputs != theirs[FILTER].outputs
    assert {name: part.sha256 for name, part in own[FILTER].outputs.items()} == {
        n: part.sha256 for n, part in theirs[FILTER].outputs.items()
    }


def test_a_follower_equals_the_same_run_without_a_leader(follower, make_run, tmp_path):
    alone = make_run(tmp_path, other_loop)
    assert alone.ser("run", str(alone.file)).returncode == 0
    expected = {place: comparable(manifest) for place, manifest in manifests(alone, "tiny").items()}
    assert {place: comparable(manifest) for place, manifest in manifests(follower, "follower").items()} == expected


def test_every_reading_command_works_on_a_follower_and_tells_what_was_taken_over(follower, leader, tmp_path):
    evolution = follower.ser("evolution", str(follower.file)).stdout
    assert "prepare: taken over from tiny (" in evolution
    assert "filter of loop 1: not taken over from tiny (" in evolution
    assert json.loads(follower.ser("evolution", str(follower.file), "-o", "json").stdout)["takenOver"]["label of loop 1"].startswith(
        "taken"
    )
    rows = json.loads(follower.ser("status", str(follower.file), "-o", "json").stdout)["status"]["stages"]
    assert {row["reason"] for row in rows if row["outcome"] == "Done"} == {"TakenOver", "NotTakenOver"}
    assert [row["mode"] for row in rows if row["reason"] == "NothingToReport"] == ["report"], "the new control"
    page = tmp_path / "page.html"
    for command in (
        ("report", str(follower.file), "-o", str(page)),
        ("export", str(follower.file), str(tmp_path / "exported")),
        ("diff", str(follower.file), str(leader.file)),
        ("logs", str(follower.file)),
        ("validate", str(follower.file)),
    ):
        ended = follower.ser(*command)
        assert ended.returncode == 0, ended.stderr
    assert "taken over from tiny" in page.read_text()


def test_a_uid_is_taken_too_and_a_follower_may_be_followed(leader, follower):
    uid = next(iter(manifests(leader, "tiny").values())).run.uid
    again = follow(leader, "again", looks_first, wanted=uid)
    third = follow(leader, "third", other_loop, wanted="follower")
    for run, name in ((again, "again"), (third, "third")):
        assert run.ser("run", str(run.file)).returncode == 0
        assert all(manifest.take_over.manifest is not None for manifest in manifests(run, name).values())
    refused = leader.ser("purge", "--yes", str(leader.file))
    assert refused.returncode == 10
    assert all(name in refused.stderr for name in ("follower", "again", "third"))


def test_an_unknown_run_is_refused_before_anything_is_stored(leader):
    run = follow(leader, "lost", wanted="nobody")
    for command in ("validate", "run"):
        ended = run.ser(command, str(run.file))
        assert ended.returncode == 10
        assert "holds no run 'nobody'" in ended.stderr
        assert "leave spec.from out" in ended.stderr
    assert not (run.store / "default" / "lost").exists()
    itself = follow(leader, "itself", wanted="itself")
    assert "holds no run 'itself' but this one itself" in itself.ser("run", str(itself.file)).stderr


@pytest.mark.parametrize("place", ["iter-0000/prepare", "iter-0000/retrain"])
def test_killed_between_any_two_store_operations_it_is_taken_over_once(place, leader, tmp_path, monkeypatch, sigterm_restored):  # noqa: F811
    theirs = manifests(leader, "tiny")
    storage = StorageSpec(uri=f"file://{leader.store}")
    spec = load_run(connect(storage), "default", "tiny").spec
    spec = type(spec).model_validate({**spec.model_dump(mode="json", by_alias=True), "from": {"run": "tiny"}})
    monkeypatch.setattr(runtime, "connect", lambda *_, **__: mortal)
    for kill_at in range(200):
        follower = RunIdentity(namespace="default", name=f"killed-{place[-4:]}-{kill_at}", uid=f"uid-{place[-4:]}-{kill_at}")
        stage = StageSpec(
            run=follower,
            stage=theirs[place].stage,
            iteration=0,
            attempt=1,
            spec=spec,
            inputs=theirs[place].inputs,
            threads=theirs[place].threads,
        )
        mortal = MortalStore(connect(storage), kill_at)
        try:
            run_once(stage, tmp_path / f"killed-{kill_at}")
            break
        except Killed:
            reference_first(leader.store, follower, place)
            mortal = MortalStore(connect(storage))
        result, code = run_once(stage.model_copy(update={"attempt": 2}), tmp_path / f"again-{kill_at}")
        assert (result.outcome, result.reason, code) == ("done", "TakenOver", 0), (kill_at, result)
        again = manifests(leader, follower.name)[place]
        assert again.outputs == theirs[place].outputs
        shutil.rmtree(leader.store / "default" / follower.name)
    shutil.rmtree(leader.store / "default" / follower.name)
    assert kill_at > 5


def reference_first(store, follower, place):
    """No manifest without a back-reference, and no back-reference of a run that stores nothing."""
    committed = (store / "default" / follower.name / follower.uid / place / "MANIFEST.json").exists()
    referenced = any(store.glob(f"default/tiny/*/followers/{follower.uid}.json"))
    assert referenced or not committed
    assert not referenced or (store / "default" / follower.name / follower.uid / "from.json").exists()


def test_nothing_of_a_run_of_version_0_1_0_is_taken_over(left, tmp_path):  # noqa: F811
    run = left("completed")
    store = connect(StorageSpec(uri=f"file://{run.store}"))
    spec = load_run(store, "default", "earlier").spec
    spec = type(spec).model_validate({**spec.model_dump(mode="json", by_alias=True), "from": {"run": "earlier"}})
    later = RunIdentity(namespace="default", name="later", uid="uid-later")
    stage = StageSpec(run=later, stage=StageKind.LABEL, iteration=1, attempt=1, spec=spec, threads=1)
    looked = look(stage, store, {}, tmp_path, Processes(), lambda: None)
    assert (looked.found, looked.why[:13]) == (None, "version 0.1.0")


def test_changed_data_are_noticed(leader, tmp_path):
    run = follow(leader, "changed", looks_first)
    source = Path(yaml.safe_load(run.file.read_text())["spec"]["data"]["source"]["uri"].removeprefix("file://"))
    shutil.copy(source, tmp_path / "kept")
    try:
        source.write_text(source.read_text() + '{"prompt": "new", "chosen": "one good1", "rejected": "one bad1"}\n')
        assert run.ser("run", str(run.file)).returncode == 0
    finally:
        shutil.copy(tmp_path / "kept", source)
    own = manifests(run, "changed")
    assert own["iter-0000/prepare"].take_over.why == "data.source.uri has another content"
    assert all(manifest.take_over.manifest is None for manifest in own.values())


def test_purge_together(leader, follower, tmp_path):
    """The last test here: it takes the store away."""
    files = [str(path) for path in leader.file.parent.glob("*.yaml")]
    ended = leader.ser("purge", "--yes", *files)
    assert ended.returncode == 0, ended.stderr
    assert not any((leader.store / "default").glob("*"))
