"""Which pairs a reward model has learnt: on those it is right more often than on new ones."""

from collections.abc import Iterator

import pyarrow.parquet as pq

from ser_core.report.copies import Copies
from ser_core.report.ledger import Ledger, Trained


def learnt_pairs(copies: Copies, ledger: Ledger, model: Trained) -> frozenset[str]:
    """Ids of the pairs of the seed, dev part included, and of those that the loops up to this model kept with a self-label.

    Args:
        copies: Of what the stages have made.
        ledger: The run's committed stages.
        model: The seed model or that of a loop.

    Raises:
        StoreError: Something cannot be read, or differs from its manifest.
    """
    return frozenset(_learnt(copies, ledger, model.key.iteration))


def _learnt(copies: Copies, ledger: Ledger, loop: int) -> Iterator[str]:
    if ledger.prepared is not None:
        for path in copies.all_of(ledger.prepared, ["seed.parquet", "dev.parquet"]).values():
            yield from pq.read_table(path, columns=["id"])["id"].to_pylist()
    for record in ledger.filters:
        if record.key.iteration <= loop:
            path = copies.of(record, "decisions.parquet")
            yield from pq.read_table(path, columns=["id"], filters=[("kept", "=", True)])["id"].to_pylist()
