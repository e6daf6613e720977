"""`ser report`: one self-contained HTML page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import Target, open_run
from ser_core.cli.access.writing import writing
from ser_core.cli.views.next_step import warn_of_a_run_that_goes_on
from ser_core.cli.views.output import say
from ser_core.counted import counted
from ser_core.shown import shown_line

Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write, its folder too; left out: <name>-report.html here.")]


def report(
    run: Target,
    output: Output = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Write a report of the run as one HTML page.

    Evolution, kept pairs, calibration, length bias, sample pairs, costs, provenance; the page needs nothing else.
    """
    from ser_core.report.html import write_report
    from ser_core.report.ledger import read_ledger

    stored = open_run(run, Place(namespace, context, kubeconfig))
    ledger = read_ledger(stored.store, stored.run)
    target = output or Path(f"{stored.run.metadata.name}-report.html")
    say(f"reading {counted(len(ledger.stages), 'stage')} of {stored.run.metadata.name}")
    with writing(target, "--output"):
        write_report(stored.store, ledger, stored.target if stored.cluster is None else None, target)
    warn_of_a_run_that_goes_on(stored.run)
    print(shown_line(str(target)))
