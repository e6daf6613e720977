"""`ser evolution`: the results of each loop, as a table and as a curve of the accuracy with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ser_core.api.serrun import SERRun
from ser_core.api.stage import NOT_TAKEN_OVER, TAKEN_OVER
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import StoredRun, Target, open_run
from ser_core.cli.views.evolution_view import evolution_view, taken_over_view
from ser_core.cli.views.output import Format, FormatOption, print_data, standard_output
from ser_core.cli.views.status_view import SENTENCE_COLUMNS
from ser_core.loop.deciding.stages import key_of


def evolution(
    run: Target,
    output: FormatOption = Format.TEXT,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show the results of each loop.

    Labels, kept pairs, accuracy with its 95 % interval, the controls beside, and the policy.
    """
    stored = open_run(run, Place(namespace, context, kubeconfig))
    status, read = stored.run.status, _read(stored)
    if output is Format.TEXT:
        console = standard_output(SENTENCE_COLUMNS)
        console.print(evolution_view(status, read.length_rule, console.width, read.of_groups))
        if read.taken_over:
            console.print(taken_over_view(read.taken_over))
        return
    parts = status.model_dump(mode="json", by_alias=True, include={"phase", "best_iteration", "iterations", "controls", "policy"})
    taken_over = {"takenOver": read.taken_over} if read.taken_over else {}
    print_data({"name": stored.run.metadata.name, **parts, "lengthOnlyAccuracy": read.length_rule, **taken_over}, output)


_IN_SHORT = {TAKEN_OVER: "taken over", NOT_TAKEN_OVER: "not taken over"}
"""Where the status has dropped a row's message to stay small."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What the store says beyond the status."""

    length_rule: float | None = None
    """Held-out accuracy of "the longer answer wins"; None: not known."""
    of_groups: tuple[str, ...] = ()
    """What the intervals rest on, where it is not each held-out pair for itself."""
    taken_over: Mapping[str, str] = field(default_factory=dict)
    """By stage, whether it was taken over from another run, and if not why; empty where the run has no `spec.from`."""


def _read(stored: StoredRun) -> _Read:
    """The store is read for runs of this machine only: users of a cluster may have no access to theirs. The status tells what it has."""
    if stored.cluster is not None:
        return _told_by_the_status(stored.run)
    from ser_core.report.findings import of_groups
    from ser_core.report.ledger import read_ledger

    ledger = read_ledger(stored.store, stored.run)
    looked = {str(key): record.manifest.take_over for key, record in ledger.stages.items()}
    return _Read(ledger.length_rule, tuple(of_groups(ledger)), {name: one.told for name, one in looked.items() if one is not None})


def _told_by_the_status(run: SERRun) -> _Read:
    from ser_core.data.preparing.split_warnings import grouped

    best = run.status.reward_model
    pairs, groups, length_rule = (best.pairs, best.groups, best.length_only_accuracy) if best else (None, None, None)
    return _Read(
        length_rule,
        () if pairs is None or groups is None else tuple(grouped(pairs, groups, run.spec.data.group_by)),
        {str(key_of(row)): row.message or _IN_SHORT[row.reason] for row in run.status.stages if row.reason in _IN_SHORT},
    )
