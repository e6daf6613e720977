"""What the finished runs of a sweep have reached, from their stores."""

import tempfile
from pathlib import Path

from ser_core.api.status import Phase
from ser_core.cli.access.stored_run import StoredRun
from ser_core.sweep.results import RunResult


def read_result(stored: StoredRun, arm: str) -> RunResult | None:
    """The best reward model and the seed model of a run on its held-out pairs; None: the run has not ended well.

    Raises:
        StoreError, SpecError: Something cannot be read, or differs from its manifest.
    """
    from ser_core.report.copies import Copies
    from ser_core.report.heldout import read_answers, read_groups, read_right
    from ser_core.report.ledger import read_ledger

    if stored.run.status.phase is not Phase.COMPLETED:
        return None
    ledger = read_ledger(stored.store, stored.run)
    best = ledger.best
    if best is None:
        return None
    with tempfile.TemporaryDirectory(prefix="ser-sweep-") as folder:
        copies = Copies(stored.store, Path(folder))
        right, seed_right = (read_right(copies, one) for one in (best, ledger.models[0]))
        groups = read_groups(copies, ledger) or {}
        answers = read_answers(copies, ledger)
    spec = stored.run.spec
    return RunResult(
        name=stored.run.metadata.name,
        arm=arm,
        repetition=(spec.data.split_seed, spec.training.seed),
        right=right,
        log_loss=best.metrics.heldout.log_loss,
        groups=groups,
        trusted=len(ledger.models) > 1,
        collapsed=best.metrics.collapsed,
        seed_right=seed_right,
        answers=answers,
    )
