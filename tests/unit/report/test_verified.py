"""Whatever reads a stored run compares it with the run's status: nothing forged, damaged or deleted is shown or exported."""

import hashlib
import json
import shutil

import pytest

from ser_core.api.spec.storage import StorageSpec
from ser_core.api.stage import ManifestRef
from ser_core.api.status import StageKind
from ser_core.cli.access.comparison import compare_runs
from ser_core.cli.access.stored_run import StoredRun
from ser_core.errors import CorruptObject, StoreError
from ser_core.loop.deciding.stages import StageKey
from ser_core.loop.recording.digests import recorded_digests, short_digest
from ser_core.report.ledger import fetch_model, read_ledger
from ser_core.store.objects.connect import connect
from ser_core.store.stages.manifest import manifest_key

RETRAIN, FILTER, CONTROL = StageKind.RETRAIN, StageKind.FILTER, StageKind.CONTROL_FULL


class Copy:
    """A copy of the stored run whose manifests name their inputs, and whose status is as the planner writes it."""

    def __init__(self, stored_run, folder):
        shutil.copytree(stored_run.folder / "store", folder)
        self.folder = folder
        self.storage = StorageSpec(uri=f"file://{folder}")
        self.store = connect(self.storage)
        stages = read_ledger(self.store, stored_run.run).stages
        self.identity = next(iter(stages.values())).manifest.run
        self.refs = {}
        for key, record in stages.items():
            inputs = {"before": self.refs[next(reversed(self.refs))]} if self.refs else {}
            self.write(key, record.manifest.model_copy(update={"inputs": inputs}))
        self.run = stored_run.run.model_copy(update={"status": self.status_of(stored_run.run.status)})

    def status_of(self, status):
        digests = tuple(short_digest(self.refs[StageKey(row.iteration, RETRAIN)].sha256) for row in status.iterations)
        controls = tuple(row.model_copy(update={"digest": short_digest(self.refs[StageKey(0, CONTROL)].sha256)}) for row in status.controls)
        model = status.reward_model.model_copy(update={"manifest_sha256": self.refs[StageKey(status.best_iteration, RETRAIN)].sha256})
        return status.model_copy(update={"digests": digests, "controls": controls, "reward_model": model})

    def place(self, key):
        return manifest_key(self.identity, key.iteration, key.stage)

    def write(self, key, manifest):
        content = manifest.to_bytes()
        self.store.put(self.place(key), content)
        digest = hashlib.sha256(content).hexdigest()
        self.refs[key] = ManifestRef(stage=key.stage, iteration=key.iteration, uri=self.store.uri(self.place(key)), sha256=digest)

    def forge(self, key):
        """A better accuracy."""
        place = self.place(key)
        document = json.loads(self.store.get(place))
        document["metrics"] |= {"heldout": {**document["metrics"].get("heldout", {}), "accuracy": 0.999}}
        self.store.put(place, json.dumps(document, indent=2, sort_keys=True).encode())

    def ledger(self):
        return read_ledger(self.store, self.run)


@pytest.fixture
def copy(stored_run, tmp_path):
    return Copy(stored_run, tmp_path / "store")


def test_an_untouched_run_is_read_whole(copy, ledger):
    assert list(copy.ledger().stages) == list(ledger.stages)


@pytest.mark.parametrize("key", [StageKey(2, RETRAIN), StageKey(1, RETRAIN), StageKey(0, CONTROL)], ids=str)
def test_a_forged_accuracy_is_refused_by_the_stages_name(copy, key):
    copy.forge(key)
    with pytest.raises(StoreError, match=f"^{key}: .* was committed") as refused:
        copy.ledger()
    assert refused.value.reason == "InputChanged"


def test_a_stage_that_the_status_has_forgotten_is_known_by_what_was_made_from_it(copy):
    key = StageKey(1, FILTER)
    assert key not in recorded_digests(copy.run.status)
    copy.forge(key)
    with pytest.raises(StoreError, match=r"^filter of loop 1: "):
        copy.ledger()


@pytest.mark.parametrize("key", [StageKey(2, RETRAIN), StageKey(0, CONTROL), StageKey(1, FILTER)], ids=str)
def test_a_deleted_manifest_is_told_as_deleted(copy, key):
    copy.store.delete(copy.place(key))
    with pytest.raises(StoreError, match="was deleted") as refused:
        copy.ledger()
    assert refused.value.reason == "ManifestDeleted"


def test_of_a_broken_chain_the_stage_that_is_gone_is_named(copy):
    gone = StageKey(0, StageKind.PREPARE)
    copy.store.delete(copy.place(gone))
    with pytest.raises(StoreError, match=f"^{gone}: .*prepare/MANIFEST.json was deleted"):
        copy.ledger()


def test_what_was_put_beside_the_stages_of_an_ended_run_is_not_read(copy):
    control = StageKey(0, StageKind.CONTROL_SEED_ONLY)
    full = copy.ledger().stages[StageKey(0, CONTROL)].manifest
    copy.write(control, full.model_copy(update={"stage": control.stage}))
    assert control not in copy.ledger().stages


def test_zeroed_weights_are_refused_by_their_name(copy, tmp_path):
    weights = next(path for path in copy.folder.rglob("config.json*") if "iter-0002" in str(path))
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(CorruptObject, match=r"config\.json"):
        fetch_model(copy.store, copy.ledger().best_model(), tmp_path / "model")


def test_a_run_of_an_earlier_version_is_read_as_far_as_its_status_tells(copy, stored_run):
    copy.run = stored_run.run.model_copy(update={"status": stored_run.run.status.model_copy(update={"reward_model": None})})
    copy.forge(StageKey(1, RETRAIN))
    assert len(copy.ledger().stages) == len(copy.refs)


def test_damage_that_comparison_meets_is_no_missing_test(copy):
    copy.forge(StageKey(2, RETRAIN))
    forged = StoredRun(copy.run, copy.storage, "small")
    with pytest.raises(StoreError, match="retrain of loop 2"):
        compare_runs(forged, forged)
