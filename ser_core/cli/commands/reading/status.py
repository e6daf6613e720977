"""`ser status`: where a run stands, in sections; once, or with every change."""

import contextlib
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live

from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.runner import look
from ser_core.cli.access.stored_run import StoredRun, Target, open_run
from ser_core.cli.views.next_step import next_step
from ser_core.cli.views.output import Format, FormatOption, print_data, print_warning, standard_output
from ser_core.cli.views.runner_line import runner_line
from ser_core.cli.views.status_view import Details, status_view
from ser_core.errors import ClusterError, StoreError

WATCH_SECONDS = 2.0

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="All conditions and attempts; on a cluster also pods and events.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show every change until the run has ended.")]


def status(
    run: Target,
    verbose: Verbose = False,
    watch: Watch = False,
    output: FormatOption = Format.TEXT,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show where a run stands.

    Phase, stage, best reward model, conditions and failures; -o json or yaml prints the whole SERRun.
    """
    place = Place(namespace, context, kubeconfig)
    stored = open_run(run, place)
    if output is not Format.TEXT:
        print_data(stored.run.model_dump(mode="json", by_alias=True), output)
    elif watch:
        _watch(stored, run, place, verbose=verbose)
    else:
        standard_output().print(_view(stored, verbose=verbose), crop=False)


def _watch(stored: StoredRun, target: str, place: Place, *, verbose: bool) -> None:
    """Follow the run until it has ended or the user presses Ctrl-C."""
    try:
        (_watch_live if sys.stdout.isatty() else _watch_lines)(stored, target, place, verbose=verbose)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _watch_live(stored: StoredRun, target: str, place: Place, *, verbose: bool) -> None:
    with Live(_view(stored, verbose=verbose), console=standard_output(), auto_refresh=False, vertical_overflow="visible") as live:
        while not stored.run.status.has_ended:
            stored, view = _look_again(stored, target, place, verbose=verbose)
            if view is not None:
                live.update(view, refresh=True)


def _watch_lines(stored: StoredRun, target: str, place: Place, *, verbose: bool) -> None:
    """Output for a pipe or a file: all sections again after every change of the run."""
    standard_output().print(_view(stored, verbose=verbose), crop=False)
    while not stored.run.status.has_ended:
        before = stored
        stored, view = _look_again(stored, target, place, verbose=verbose)
        if view is not None and stored.run != before.run:
            standard_output().print("", view, sep="\n", crop=False)


def _look_again(stored: StoredRun, target: str, place: Place, *, verbose: bool) -> tuple[StoredRun, RenderableType | None]:
    """Read the run again, and show it; the old one, with a warning and no view, while the cluster or the store does not answer."""
    time.sleep(WATCH_SECONDS)
    try:
        found = open_run(target, place)
        return found, _view(found, verbose=verbose)
    except (ClusterError, StoreError) as error:
        if error.exit_code != ClusterError.exit_code:
            raise
        print_warning(f"{error.message}; looking again")
        return stored, None


def _view(stored: StoredRun, *, verbose: bool) -> RenderableType:
    details = Details(next_step=next_step(stored.run, stored.target, on_cluster=stored.cluster is not None))
    if stored.cluster is None:
        metadata = stored.run.metadata
        with contextlib.suppress(StoreError):  # the run itself could be read
            runner = runner_line(stored.run, look(stored.store, metadata.namespace, metadata.name), stored.target)
            details = replace(details, runner=runner)
    elif verbose:
        uid = stored.run.metadata.uid
        details = replace(details, pods=tuple(stored.cluster.pods(uid)), events=tuple(stored.cluster.events(uid)))
    return status_view(stored.run, datetime.now(UTC), details, verbose=verbose)
