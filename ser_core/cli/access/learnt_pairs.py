"""Which pairs a reward model has learnt: on those it is right more often than on new ones."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from ser_core.report.ledger import Ledger, Trained
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.commit import fetch_outputs


def learnt_pairs(store: ObjectStore, ledger: Ledger, model: Trained, folder: Path) -> frozenset[str]:
    """Ids of the pairs of the seed, dev part included, and of those that the loops up to this model kept with a self-label.

    Args:
        store: The run's store.
        ledger: Its committed stages.
        model: The seed model or that of a loop.
        folder: An empty folder for copies; may be deleted afterwards.

    Raises:
        StoreError: Something cannot be read, or differs from its manifest.
    """
    return frozenset(_learnt(store, ledger, model.key.iteration, folder))


def _learnt(store: ObjectStore, ledger: Ledger, loop: int, folder: Path) -> Iterator[str]:
    if ledger.prepared is not None:
        names = ["seed.parquet", "dev.parquet"]
        for path in fetch_outputs(store, ledger.prepared.manifest, names, folder / "seed").values():
            yield from pq.read_table(path, columns=["id"])["id"].to_pylist()
    for record in ledger.filters:
        if record.key.iteration <= loop:
            place = folder / str(record.key.iteration)
            path = fetch_outputs(store, record.manifest, ["decisions.parquet"], place)["decisions.parquet"]
            yield from pq.read_table(path, columns=["id"], filters=[("kept", "=", True)])["id"].to_pylist()
