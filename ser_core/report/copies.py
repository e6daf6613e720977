"""Local copies of what the stages of a run have made, each checked against its manifest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_core.api.stage import StageMetrics
from ser_core.report.ledger import StageRecord
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.commit import fetch_outputs


@dataclass(frozen=True, slots=True)
class Copies:
    """Verified copies in a folder, which may be deleted afterwards; each stage has a folder of its own in it.

    Both functions raise a ``StoreError`` where something cannot be read, or differs from its manifest.
    """

    store: ObjectStore
    folder: Path

    def of(self, record: StageRecord[StageMetrics], name: str) -> Path:
        """A copy of one output of a stage."""
        return self.all_of(record, [name])[name]

    def all_of(self, record: StageRecord[StageMetrics], names: Sequence[str]) -> dict[str, Path]:
        """Copies of several outputs of a stage, by their names."""
        return fetch_outputs(self.store, record.manifest, names, self.folder / f"{record.key.iteration}-{record.key.stage.value}")
