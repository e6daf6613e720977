"""What the committed stages of a run store, in bytes by kind. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping

from ser_core.api.status import StageKind
from ser_core.store.manifest import Manifest
from ser_core.store.model_folder import FOLDS, MODEL

_POLICIES = (StageKind.SFT, StageKind.PPO)


def stored_bytes(manifests: Iterable[Manifest]) -> Mapping[str, int]:
    """Bytes by kind, the largest first. A file that several manifests name, as the base of adapters, counts once, for the first of them.

    Args:
        manifests: In the order in which the stages ran.
    """
    files = {file.key: (_kind(one.stage, name), file.size) for one in reversed([*manifests]) for name, file in one.outputs.items()}
    found: Counter[str] = Counter()
    for kind, size in files.values():
        found[kind] += size
    return dict(found.most_common())


def _kind(stage: StageKind, name: str) -> str:
    folder, slash, _ = name.partition("/")
    if folder == FOLDS:
        return "fold models"
    if stage is StageKind.PREPARE and slash:
        return "base models"
    if folder == MODEL and slash:
        return "policies" if stage in _POLICIES else "reward models"
    return "tables and records"
