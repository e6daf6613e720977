"""The held-out pairs of a run, read back verified: in which groups they are, and which of them a reward model has right."""

import sys
from pathlib import Path

import pyarrow.parquet as pq

from ser_core.data.tables import EvaluatedPair, PairGroup, read_table
from ser_core.learn.evaluation.evaluation import right_by_id
from ser_core.report.ledger import Ledger, Trained
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.commit import fetch_outputs


def read_groups(store: ObjectStore, ledger: Ledger, folder: Path) -> dict[str, str] | None:
    """Group of each labelled pair; None: there are no data yet, or version 0.1.0 has prepared them, which stored no groups.

    Args:
        store: The run's store.
        ledger: Its committed stages.
        folder: For a copy; may be deleted afterwards.

    Raises:
        StoreError: It cannot be read, or differs from its manifest.
    """
    name = "groups.parquet"
    if ledger.prepared is None or name not in ledger.prepared.manifest.outputs:
        return None
    path = fetch_outputs(store, ledger.prepared.manifest, [name], folder / "groups")[name]
    return {one.id: one.group for one in read_table(path, PairGroup)}


def read_answers(store: ObjectStore, ledger: Ledger, folder: Path) -> dict[str, tuple[str, str]]:
    """Chosen and rejected answer of each held-out pair. Arguments and errors as of `read_groups`."""
    name = "heldout.parquet"
    if ledger.prepared is None or name not in ledger.prepared.manifest.outputs:
        return {}
    table = pq.read_table(fetch_outputs(store, ledger.prepared.manifest, [name], folder / "answers")[name])
    # A sweep holds the answers of many runs, mostly the same ones: each text is kept once.
    answers = zip(*(map(sys.intern, table[name].to_pylist()) for name in ("chosen", "rejected")), strict=True)
    return dict(zip(table["id"].to_pylist(), answers, strict=True))


def read_right(store: ObjectStore, record: Trained, folder: Path) -> dict[str, bool]:
    """Whether a reward model is right, by held-out pair. Arguments and errors as of `read_groups`."""
    name = "heldout_scores.parquet"
    path = fetch_outputs(store, record.manifest, [name], folder / f"{record.key.stage.value}-{record.key.iteration}")[name]
    return right_by_id(read_table(path, EvaluatedPair))
