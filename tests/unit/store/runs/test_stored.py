"""What a run stores, by kind."""

import pytest

from ser_core.api.status import StoredBytes
from ser_core.store.runs.stored import stored_bytes
from ser_core.store.stages.manifest import run_prefix


def test_every_object_of_the_run_counts_once_by_its_kind(store, identity):
    objects = {
        "iter-0000/prepare/attempt-1-a/model/config.json": 1,
        "iter-0000/prepare/attempt-1-a/policy/config.json": 2,
        "iter-0001/retrain/attempt-1-a/model/model.safetensors": 10,
        "iter-0000/control-full/attempt-1-a/model/model.safetensors": 20,
        "iter-0001/retrain/attempt-1-a/folds/3/model.safetensors": 100,
        "iter-0000/ppo/attempt-1-a/model/model.safetensors": 1000,
        "iter-0001/label/checkpoints/00000001-a/scores": 10_000,
        "iter-0001/label/MANIFEST.json": 100_000,
        "iter-0001/label/attempt-1-a/labels.parquet": 200_000,
        "OWNER.json": 400_000,
    }
    for key, size in objects.items():
        store.put(f"{run_prefix(identity)}/{key}", b"x" * size)
    store.put(f"{run_prefix(identity)}-of-another/iter-0001/label/MANIFEST.json", b"x")
    kinds = {"base_models": 3, "reward_models": 30, "fold_models": 100, "policies": 1000, "checkpoints": 10_000, "records": 700_000}
    assert stored_bytes(store, identity) == StoredBytes(**kinds)


@pytest.mark.parametrize(
    ("stored", "told"),
    [(StoredBytes(), {}), (StoredBytes(records=1, fold_models=7), {"fold models": 7, "records": 1})],
)
def test_kinds_are_told_from_the_largest_on_and_not_where_there_is_nothing(stored, told):
    assert list(stored.by_kind().items()) == list(told.items())
