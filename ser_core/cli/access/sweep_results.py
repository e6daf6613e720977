"""What the finished runs of a sweep have reached, from their stores."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ser_core.api.status import Phase
from ser_core.cli.access.stored_run import StoredRun
from ser_core.sweep.results import RunResult


def read_result(stored: StoredRun, arm: str) -> RunResult | None:
    """The best reward model of a run on its held-out pairs; None: the run has not ended well.

    Raises:
        StoreError, SpecError: Something cannot be read, or differs from its manifest.
    """
    from ser_core.data.tables import EvaluatedPair, PairGroup, read_table
    from ser_core.report.ledger import read_ledger
    from ser_core.store.stages.commit import fetch_outputs

    if stored.run.status.phase is not Phase.COMPLETED:
        return None
    ledger = read_ledger(stored.store, stored.run)
    best, prepared = ledger.best, ledger.prepared
    if best is None or prepared is None:
        return None
    with tempfile.TemporaryDirectory(prefix="ser-sweep-") as folder:
        scores = "heldout_scores.parquet"
        pairs = read_table(fetch_outputs(stored.store, best.manifest, [scores], Path(folder) / "best")[scores], EvaluatedPair)
        groups: Mapping[str, str] = {}
        if "groups.parquet" in prepared.manifest.outputs:  # version 0.1.0 wrote none: then each pair stands for itself
            found = fetch_outputs(stored.store, prepared.manifest, ["groups.parquet"], Path(folder) / "prepared")
            groups = {one.id: one.group for one in read_table(found["groups.parquet"], PairGroup)}
    spec = stored.run.spec
    return RunResult(
        name=stored.run.metadata.name,
        arm=arm,
        repetition=(spec.data.split_seed, spec.training.seed),
        right={pair.id: pair.score_chosen > pair.score_rejected for pair in pairs},
        log_loss=best.metrics.heldout.log_loss,
        groups=groups,
        trusted=len(ledger.models) > 1,
    )
