"""`ser validate`: everything that can be wrong with a run before it costs anything. Nothing is trained and nothing is kept."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ser_core.api.serrun import SERRun
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.serrun_file import located, read_document, read_serrun
from ser_core.cli.access.stored_run import SOON, RunFile, run_command
from ser_core.cli.checks.check import Check
from ser_core.cli.checks.cluster import check_nodes, check_server
from ser_core.cli.checks.data import check_data
from ser_core.cli.checks.model import check_model
from ser_core.cli.checks.rows import check_rows
from ser_core.cli.checks.spec import check_spec
from ser_core.cli.checks.store import check_from, check_run, check_store
from ser_core.cli.views.output import Format, FormatOption, print_data, print_error, print_warning, standard_output
from ser_core.errors import SERError
from ser_core.shown import shown_line
from ser_core.store.objects.retry import Silence

Server = Annotated[bool, typer.Option("--server", help="Ask the cluster: a dry run by the API server, and whether a node fits.")]
Probe = Annotated[
    bool | None,
    typer.Option(
        "--probe/--no-probe",
        help="Also check store, model and data from here; of both the last counts. Default: yes, but no with --server.",
        show_default=False,
    ),
]


def validate(
    file: RunFile,
    server: Server = False,
    probe: Probe = None,
    output: FormatOption = Format.TEXT,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Check spec, store, model and data.

    Nothing is trained and nothing is kept; all problems are reported at once. With --server the cluster is asked instead: whether it would
    take the SERRun (a dry run), and whether some node could hold its pods.
    """
    run, place = _read(file, output), Place(namespace, context, kubeconfig)
    checked = partial(_checked, run=run, file=file)
    checks = [check_spec(run), *(checked(name, check) for name, check in _chosen(file, place, server, probe).items())]
    checks += [checked("run", partial(check_run, file=file))] if not server and "store" in _passed(checks) else []
    checks += [checked("rows", partial(check_rows, checks=checks))] if {"model", "data"} <= _passed(checks) else []
    errors = [check.error for check in checks if check.error is not None]
    if output is not Format.TEXT:
        print_data({"ready": not errors, "checks": [_as_data(check) for check in checks]}, output)
    else:
        for line in _lines(checks):
            standard_output().print(shown_line(line), soft_wrap=True)
    for warning in (warning for check in checks for warning in check.warnings):
        print_warning(warning)
    for error in {error.message: error for error in errors}.values():  # two checks may fail for one cause
        print_error(error)
    if errors:
        raise typer.Exit(errors[0].exit_code)
    if output is Format.TEXT:
        command = f"kubectl apply{place.options} -f {shlex.quote(str(file))}" if server else run_command(file)
        standard_output().print(f"ready: {command}", soft_wrap=True)


def _read(file: Path, output: Format) -> SERRun:
    """A file that is no SERRun is a failed check too: who reads data gets them."""
    try:
        return read_serrun(file)
    except SERError as error:
        if output is not Format.TEXT:
            print_data({"ready": False, "checks": [_as_data(Check("spec", error=error))]}, output)
        raise


def _chosen(file: Path, place: Place, server: bool, probe: bool | None) -> Mapping[str, Callable[[SERRun], Check]]:
    """The checks by name, cheapest first."""
    written = read_document(file)["metadata"].get("namespace")
    place = replace(place, namespace=place.namespace or written)
    of_cluster = {"server": partial(check_server, file=file, place=place), "nodes": partial(check_nodes, place=place)}
    from_here = not server if probe is None else probe
    return {**(of_cluster if server else {}), **(_checks_from_here(file) if from_here else {})}


def _checks_from_here(file: Path) -> Mapping[str, Callable[[SERRun], Check]]:
    """Those that ask the store share one deadline: one that falls silent is waited for once."""
    soon = replace(SOON, silence=Silence())
    takes_over = {"from": check_from} if read_document(file)["spec"].get("from") else {}
    checks = takes_over | {"store": check_store, "model": check_model, "data": check_data}
    return {name: partial(check, soon=soon) for name, check in checks.items()}


def _passed(checks: Sequence[Check]) -> set[str]:
    return {check.name for check in checks if check.error is None}


def _checked(name: str, check: Callable[[SERRun], Check], run: SERRun, file: Path) -> Check:
    try:
        with located(file):
            return check(run)
    except SERError as error:
        return Check(name, error=error)


def _lines(checks: list[Check]) -> Iterator[str]:
    for check in checks:
        first, *rest = check.found or (check.error.reason if check.error else "",)
        yield f"{check.name:<6} {'ok    ' if check.error is None else 'failed'} {first}"
        yield from (f"{'':<13} {line}" for line in rest)


def _as_data(check: Check) -> dict[str, object]:
    error = check.error
    problem = None if error is None else {"reason": error.reason, "message": error.message, "hint": error.hint}
    return {"name": check.name, "found": check.found, "warnings": check.warnings, "error": problem}
