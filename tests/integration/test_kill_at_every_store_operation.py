"""Every stage, killed between any two store operations it makes, ends after a restart with the undisturbed manifest.

Killed before an operation, it is killed after the one before: what has reached the store is all that the next attempt can see. Of equal
operations in a row, as the uploads of a model's files, the first and the last are tried.
"""

import shutil
import signal
import threading

import pytest
from comparable import comparable

from ser_core.api.spec.storage import StorageSpec
from ser_core.api.stage import StageSpec
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import load_run
from ser_core.store.stages.manifest import Manifest
from ser_jobs.process import runtime

STAGES = [
    "iter-0000/prepare",
    "iter-0000/retrain",
    "iter-0001/label",
    "iter-0001/filter",
    "iter-0001/retrain",
    "iter-0000/control-seed-only",
]
OPERATIONS = ("create", "put", "get", "upload", "download", "list", "folders", "delete")


class Killed(BaseException):
    """Stands for SIGKILL: no `except Exception` sees it."""


class MortalStore:
    """A store whose process dies before operation number ``kill_at``; nothing works afterwards."""

    def __init__(self, store, kill_at=None):
        self._store, self._kill_at = store, kill_at
        self._lock = threading.Lock()
        self.names = []

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name not in OPERATIONS:
            return method

        def operation(*arguments):
            with self._lock:
                number = len(self.names)
                self.names.append(name)
            if self._kill_at is not None and number >= self._kill_at:
                raise Killed
            return method(*arguments)

        return operation


@pytest.fixture(scope="module")
def undisturbed(make_run, tmp_path_factory):
    """A run whose trainings are short, since each is made anew after each kill."""
    run = make_run(tmp_path_factory.mktemp("short"), lambda spec: spec["training"].update(epochs=1))
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    return run


@pytest.fixture
def sigterm_restored():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_ends_after_restart_with_the_undisturbed_manifest(stage, undisturbed, tmp_path, monkeypatch, sigterm_restored):
    folder = next(undisturbed.store.glob(f"default/*/*/{stage}"))
    committed = Manifest.model_validate_json((folder / "MANIFEST.json").read_bytes())
    original = load_run(connect(StorageSpec(uri=f"file://{undisturbed.store}")), "default", "tiny")
    storage = original.spec.storage
    spec = StageSpec(
        run=committed.run,
        stage=committed.stage,
        iteration=committed.iteration,
        attempt=1,
        spec=original.spec,
        inputs=committed.inputs,
        steps=committed.metrics.steps if stage.endswith("seed-only") else None,
        threads=committed.threads,
    )
    monkeypatch.setattr(runtime, "connect", lambda *_, **__: mortal)
    shutil.copytree(folder, tmp_path / "committed")
    shutil.rmtree(folder)
    mortal = MortalStore(connect(storage))
    run_once(spec, tmp_path / "undisturbed")
    last = 0  # a quicker attempt saves fewer checkpoints, and ends before the last operations of the first one
    for kill_at in first_and_last_of_each_row(mortal.names):
        shutil.rmtree(folder)
        mortal = MortalStore(connect(storage), kill_at)
        try:
            run_once(spec, tmp_path / f"killed-{kill_at}")
        except Killed:
            last = kill_at
        mortal = MortalStore(connect(storage))
        result, code = run_once(spec.model_copy(update={"attempt": 2}), tmp_path / f"again-{kill_at}")
        assert (result.outcome, code) == ("done", 0), (kill_at, result)
        again = Manifest.model_validate_json((folder / "MANIFEST.json").read_bytes())
        assert comparable(again) == comparable(committed), kill_at
        left = {path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("log")}
        named = {undisturbed.store / part.key for part in again.outputs.values()}
        assert left <= {folder / "MANIFEST.json", *named}, (kill_at, "what the killed attempt left is still there")
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "committed", folder)
    assert last >= len(committed.outputs), "fewer operations than outputs: nothing was tested"


def first_and_last_of_each_row(names):
    """Numbers of the operations that differ from the one before or from the one after."""
    ends = [None, *names, None]
    return [number for number in range(len(names)) if not ends[number] == ends[number + 1] == ends[number + 2]]


def run_once(spec, folder):
    folder.mkdir()
    try:
        return runtime.run_stage(spec, folder)
    finally:
        shutil.rmtree(folder)
