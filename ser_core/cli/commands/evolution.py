"""`ser evolution`: the results of each loop, as a table and as a curve of the accuracy with its interval."""

from ser_core.cli.access.cluster import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import StoredRun, Target, open_run
from ser_core.cli.views.evolution_view import evolution_view
from ser_core.cli.views.output import Format, FormatOption, print_data, standard_output


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
    status, length_rule = stored.run.status, _length_rule(stored)
    if output is Format.TEXT:
        console = standard_output()
        console.print(evolution_view(status, length_rule, console.width))
        return
    parts = status.model_dump(mode="json", by_alias=True, include={"phase", "best_iteration", "iterations", "controls", "policy"})
    print_data({"name": stored.run.metadata.name, **parts, "lengthOnlyAccuracy": length_rule}, output)


def _length_rule(stored: StoredRun) -> float | None:
    """It is stored in the store only. That is read for runs of this machine: users of a cluster may have no access to its store."""
    if stored.cluster is not None:
        return None
    from ser_core.report.ledger import read_ledger

    return read_ledger(stored.store, stored.run).length_rule
