"""`ser why`: why a run is in its current state, in three lines: cause, evidence, fix."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from ser_core.api.status import Phase
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.runner import look
from ser_core.cli.access.stored_run import StoredRun, Target, open_run
from ser_core.cli.views.output import Format, FormatOption, print_data, standard_output
from ser_core.cli.views.status_view import beside
from ser_core.cli.views.why_view import carried_out, explain
from ser_core.errors import ClusterAccessDenied
from ser_core.shown import shown_line

_NAME_CELLS = 10


def why(
    run: Target,
    output: FormatOption = Format.TEXT,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Say why a run is in its current state.

    Cause, evidence and fix in three lines, from conditions, attempts and events.
    """
    stored = open_run(run, Place(namespace, context, kubeconfig))
    told = explain(stored.run, _events(stored), datetime.now(UTC), stored.target, on_cluster=stored.cluster is not None, pods=_pods(stored))
    if stored.cluster is None:
        metadata = stored.run.metadata
        told = carried_out(told, stored.run, look(stored.store, metadata.namespace, metadata.name), stored.target)
    if output is not Format.TEXT:
        print_data(asdict(told), output)
        return
    console = standard_output()
    for name, written in asdict(told).items():
        text = shown_line(written)
        if console.is_terminal:
            console.print(beside(name, Text(text), _NAME_CELLS, "bold"))
        else:
            console.print(f"{name:<{_NAME_CELLS}}{text}", soft_wrap=True)


def _events(stored: StoredRun) -> Sequence[Mapping[str, Any]]:
    return () if stored.cluster is None else stored.cluster.events(stored.run.metadata.uid)


def _pods(stored: StoredRun) -> Sequence[Mapping[str, Any]] | None:
    """The pods of a stage that runs as its status says; None: not asked for, or not to be seen."""
    if stored.cluster is None or stored.run.status.phase is not Phase.RUNNING:
        return None
    try:
        return stored.cluster.pods(stored.run.metadata.uid)
    except ClusterAccessDenied:
        return None
