"""The held-out pairs of a run, read back verified: in which groups they are, and which of them a reward model has right."""

import sys

import pyarrow.parquet as pq

from ser_core.data.tables import EvaluatedPair, PairGroup, read_table
from ser_core.learn.evaluation.evaluation import right_by_id
from ser_core.report.copies import Copies
from ser_core.report.ledger import Ledger, Trained


def read_groups(copies: Copies, ledger: Ledger) -> dict[str, str] | None:
    """Group of each labelled pair; None: there are no data yet, or version 0.1.0 has prepared them, which stored no groups.

    Raises:
        StoreError: It cannot be read, or differs from its manifest.
    """
    name = "groups.parquet"
    if ledger.prepared is None or name not in ledger.prepared.manifest.outputs:
        return None
    return {one.id: one.group for one in read_table(copies.of(ledger.prepared, name), PairGroup)}


def read_answers(copies: Copies, ledger: Ledger) -> dict[str, tuple[str, str]]:
    """Chosen and rejected answer of each held-out pair. Errors as of `read_groups`."""
    name = "heldout.parquet"
    if ledger.prepared is None or name not in ledger.prepared.manifest.outputs:
        return {}
    table = pq.read_table(copies.of(ledger.prepared, name))
    # A sweep holds the answers of many runs, mostly the same ones: each text is kept once.
    answers = zip(*(map(sys.intern, table[name].to_pylist()) for name in ("chosen", "rejected")), strict=True)
    return dict(zip(table["id"].to_pylist(), answers, strict=True))


def read_right(copies: Copies, record: Trained) -> dict[str, bool]:
    """Whether a reward model is right, by held-out pair. Errors as of `read_groups`."""
    return right_by_id(read_table(copies.of(record, "heldout_scores.parquet"), EvaluatedPair))
