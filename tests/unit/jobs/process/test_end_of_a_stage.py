"""What the end of a stage does to its folder in the store, around a body that makes one file."""

import signal
import sys
from types import ModuleType

import pytest

from ser_core.api.cluster_identity import CLUSTER
from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import LabelMetrics, RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.errors import SERError, StoreRefused
from ser_core.store.objects.file import FileStore
from ser_core.store.runs.owner import owner_of
from ser_core.store.stages.manifest import stage_prefix
from ser_jobs.process import attempt as one_attempt
from ser_jobs.process import runtime
from ser_jobs.process.background_checkpoints import BackgroundCheckpoints
from ser_jobs.process.context import StageOutput
from ser_jobs.telemetry import heartbeat

RUN = RunIdentity(namespace="default", name="run", uid="uid-1")
FOLDER = stage_prefix(RUN, 1, StageKind.LABEL)


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Runs the stage once; returns result and exit code."""

    def body(context):
        (context.workdir / "labels").write_bytes(b"scores")
        return StageOutput({"labels": context.workdir / "labels"}, LabelMetrics(labeled=1, truncated=0))

    module = ModuleType("body_of_a_test")
    module.body = body
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(runtime, "BODIES", {StageKind.LABEL: module.__name__})
    before = signal.getsignal(signal.SIGTERM)
    source = {"source": {"uri": "file:///pairs.jsonl", "seedFraction": 0.2}}
    spec = SERRunSpec.model_validate(
        {"rewardModel": {"base": "file:///model"}, "data": source, "storage": {"uri": f"file://{tmp_path}/store"}}
    )
    (tmp_path / "store").mkdir()

    def run(attempt, kind=StageKind.LABEL):
        (tmp_path / f"work-{attempt}").mkdir()
        wanted = StageSpec(run=RUN, stage=kind, iteration=1, attempt=attempt, spec=spec, threads=1)
        return runtime.run_stage(wanted, tmp_path / f"work-{attempt}")

    yield run
    signal.signal(signal.SIGTERM, before)


def names(store):
    return sorted(entry.key.rpartition("/")[2] for entry in store.list(f"{FOLDER}/"))


def test_each_file_that_is_uploaded_is_a_sign_of_life(stage, tmp_path, monkeypatch):
    monkeypatch.setenv(heartbeat.VARIABLE, str(tmp_path / "pulse"))
    upload, seen = one_attempt.upload_outputs, []

    def look(*arguments):
        seen.append(heartbeat.read(tmp_path / "pulse"))
        parts = upload(*arguments)
        seen.append(heartbeat.read(tmp_path / "pulse"))
        return parts

    monkeypatch.setattr(one_attempt, "upload_outputs", look)
    stage(1)
    assert [(sign.number - seen[0].number, sign.phase) for sign in seen] == [(0, "uploading"), (1, "uploading")]


def test_what_an_attempt_that_was_killed_has_left_goes_with_the_commit_of_the_next(stage, tmp_path):
    store = FileStore(tmp_path / "store")
    store.put(f"{FOLDER}/attempt-1-dead/half", b"12345")
    result, code = stage(2)
    assert (result.outcome, code) == ("done", 0)
    assert names(store) == ["MANIFEST.json", "labels", "log.jsonl"]


def test_of_who_was_killed_after_its_commit_the_next_attempt_cleans_up(stage, tmp_path):
    store = FileStore(tmp_path / "store")
    stage(1)
    store.put(f"{FOLDER}/checkpoints/00000001-a/model", b"12345")
    result, code = stage(2)
    assert (result.outcome, code) == ("done", 0)
    assert names(store) == ["MANIFEST.json", "labels", "log.jsonl"]


@pytest.mark.parametrize("kind", [StageKind.PREPARE, StageKind.LABEL])
def test_a_stage_does_not_make_the_folder_of_its_store_anew(stage, tmp_path, kind):
    (tmp_path / "store").rename(tmp_path / "away")
    result, code = stage(1, kind)
    assert (result.reason, code) == ("StoreUnavailable", 20)
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_cleaned_does_not_change_the_result(stage, monkeypatch):
    def refuse(*_):
        raise SERError("may not be listed")

    monkeypatch.setattr("ser_jobs.process.attempt.remove_leftovers", refuse)
    assert stage(1)[1] == 0


def test_who_commits_second_is_done_too_if_the_first_has_aborted_its_upload(stage, monkeypatch):
    upload = one_attempt.upload_outputs

    def aborted(*_):
        monkeypatch.setattr(one_attempt, "upload_outputs", upload)
        assert stage(1)[1] == 0
        raise StoreRefused("NoSuchUpload")

    monkeypatch.setattr(one_attempt, "upload_outputs", aborted)
    result, code = stage(2)
    assert (result.outcome, result.message, code) == ("superseded", "another attempt committed first", 0)


def test_an_upload_that_is_refused_while_nobody_has_committed_fails(stage, monkeypatch):
    def refuse(*_):
        raise StoreRefused("no")

    monkeypatch.setattr(one_attempt, "upload_outputs", refuse)
    assert stage(1)[1] == 20


def test_what_the_end_of_checkpoints_has_left_goes_with_the_rest(stage, tmp_path, monkeypatch):
    def refuse(_):
        raise StoreRefused("NoSuchUpload")

    store = FileStore(tmp_path / "store")
    store.put(f"{FOLDER}/checkpoints/00000001-a/model", b"12345")
    monkeypatch.setattr(BackgroundCheckpoints, "wait", refuse)
    assert stage(1)[1] == 0
    assert names(store) == ["MANIFEST.json", "labels", "log.jsonl"]


@pytest.mark.parametrize("commits", [True, False])
def test_a_checkpoint_that_nothing_needs_any_more_fails_nobody(stage, monkeypatch, commits):
    def refuse(_):
        raise StoreRefused("NoSuchUpload")

    if not commits:
        monkeypatch.setattr(sys.modules["body_of_a_test"], "body", lambda _: None)
    monkeypatch.setattr(BackgroundCheckpoints, "wait", refuse)
    result, code = stage(1)
    assert (result.outcome, result.manifest is not None, code) == ("done", commits, 0)


def test_a_stop_that_comes_while_the_folder_is_removed_does_not_change_the_result(stage, monkeypatch):
    monkeypatch.setattr(runtime, "_has_steps", lambda _: False)
    result, code = stage(1)
    signal.raise_signal(signal.SIGTERM)
    assert (result.outcome, code) == ("done", 0)


def test_what_the_run_stores_is_reported_with_its_end_also_by_who_only_finds_it_done(stage, tmp_path):
    store = FileStore(tmp_path / "store")
    store.put(f"{stage_prefix(RUN, 0, StageKind.RETRAIN)}/attempt-1-a/model/weights", b"12345")
    for attempt in (1, 2):
        stored = stage(attempt)[0].stored
        assert stored.reward_models == 5
        assert stored.records == sum(entry.size for entry in store.list(f"{FOLDER}/"))


def test_what_the_run_stores_is_reported_by_the_process_that_commits_whichever_it_is(stage, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert stage(1)[0].stored.records > 0
    assert stage(2)[0].stored is None  # of those that only find it done, the first counts for all


def test_a_store_that_cannot_be_counted_does_not_change_the_result(stage, monkeypatch):
    def refuse(*_):
        raise SERError("may not be listed")

    monkeypatch.setattr("ser_jobs.process.attempt.stored_bytes", refuse)
    result, code = stage(1)
    assert (result.outcome, result.stored, code) == ("done", None, 0)


def test_the_stored_log_has_the_traceback_of_a_defect(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "BODIES", {StageKind.LABEL: "no_such_module_of_a_test"})
    result, code = stage(1)
    assert (result.reason, code) == ("ModuleNotFoundError", 1)
    (log,) = (tmp_path / "store" / FOLDER).glob("**/log.jsonl")
    assert "Traceback (most recent call last)" in log.read_text()


def test_only_prepare_marks_whose_the_run_is(stage, tmp_path, monkeypatch):
    monkeypatch.setenv(CLUSTER, "here")
    stage(1)
    assert owner_of(FileStore(tmp_path / "store"), RUN) == ""


def test_prepare_marks_whose_the_run_is_also_when_it_fails(stage, tmp_path, monkeypatch):
    monkeypatch.setenv(CLUSTER, "here")
    monkeypatch.setattr(runtime, "BODIES", {StageKind.PREPARE: "no_such_module_of_a_test"})
    assert stage(1, StageKind.PREPARE)[1] == 1
    assert owner_of(FileStore(tmp_path / "store"), RUN) == "here"
