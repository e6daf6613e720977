"""How many bytes a run stores, by kind: counted in the store, so that what was removed or left behind is not guessed."""

from collections import Counter

from ser_core.api.stage import RunIdentity
from ser_core.api.status import StageKind, StoredBytes
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.manifest import run_prefix
from ser_core.store.stages.model_folder import FOLDS, MODEL

_POLICIES = (StageKind.SFT, StageKind.PPO)


def stored_bytes(store: ObjectStore, run: RunIdentity) -> StoredBytes:
    """What lies in the folder of a run now. Files that it has taken over lie in the folder of the run that made them.

    Raises:
        StoreError: It cannot be listed.
    """
    folder = f"{run_prefix(run)}/"
    found: Counter[str] = Counter()
    for entry in store.list(folder):
        found[kind_of(entry.key.removeprefix(folder))] += entry.size
    return StoredBytes(**found)


def kind_of(key: str) -> str:
    """The field of `StoredBytes` in which an object is counted. Pure.

    Args:
        key: Below the run's folder, as ``iter-0002/retrain/attempt-1-0123abcd/model/config.json``.
    """
    match key.split("/"):
        case [_, _, "checkpoints", *_]:
            return "checkpoints"
        case [_, StageKind.PREPARE.value, _, _, _, *_]:
            return "base_models"
        case [_, _, _, folder, _, *_] if folder == FOLDS:
            return "fold_models"
        case [_, stage, _, folder, _, *_] if folder == MODEL:
            return "policies" if stage in _POLICIES else "reward_models"
        case _:
            return "records"
