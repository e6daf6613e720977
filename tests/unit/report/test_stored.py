"""What a run stores, by kind."""

from ser_core.api.status import StageKind
from ser_core.report.stored import stored_bytes
from ser_core.store.manifest import OutputFile


def test_the_kinds_together_are_the_files_that_lie_there_each_once(ledger, stored_run):
    manifests = [record.manifest for record in ledger.stages.values()]
    keys = {file.key for one in manifests for file in one.outputs.values()}
    found = stored_bytes(manifests)
    assert sum(found.values()) == sum((stored_run.folder / "store" / key).stat().st_size for key in keys)
    assert found.keys() == {"reward models", "tables and records"}
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_models_are_told_apart_and_a_base_that_adapters_name_too_counts_once(ledger):
    record = ledger.models[0].manifest

    def made(stage, *names):
        outputs = {name: OutputFile(key=key, size=size, sha256="") for name, key, size in names}
        return record.model_copy(update={"stage": stage, "outputs": outputs})

    found = stored_bytes(
        [
            made(StageKind.PREPARE, ("model/w", "base", 100), ("pool.parquet", "pool", 1)),
            made(StageKind.RETRAIN, ("model/w", "adapter", 20), ("folds/0/w", "fold", 30), ("model/base/w", "base", 100)),
            made(StageKind.PPO, ("model/w", "policy", 70)),
        ]
    )
    assert found == {"base models": 100, "policies": 70, "fold models": 30, "reward models": 20, "tables and records": 1}
