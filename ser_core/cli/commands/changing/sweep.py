"""`ser sweep`: one SERRun in several variants, and a table that compares them."""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from ser_core.api.serrun import SERRun
from ser_core.cli.access.cluster import connect_cluster
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.serrun_file import read_serrun, read_templates, resolved_document, specs_of
from ser_core.cli.access.stored_run import SOON, RunFile, open_run
from ser_core.cli.access.sweeps.documents import documents_of, file_of, write_files
from ser_core.cli.access.sweeps.results import read_result
from ser_core.cli.access.sweeps.runs import ClusterRuns, LocalRuns, SweepRuns
from ser_core.cli.access.writing import writing
from ser_core.cli.checks.arms import arm_warnings
from ser_core.cli.views.output import Format, FormatOption, print_data, print_warning, say, standard_output
from ser_core.cli.views.sweep_view import as_data, sweep_view
from ser_core.counted import counted
from ser_core.errors import ClusterError, SERError, SpecError, UsageError
from ser_core.sweep.results import RunResult
from ser_core.sweep.schedule import may_start
from ser_core.sweep.settings import read_setting
from ser_core.sweep.variants import Variant, variants

LOCAL_SECONDS, CLUSTER_SECONDS = 0.2, 5.0

Set = Annotated[list[str], typer.Option("--set", metavar="FIELD=VALUES", help="Field of the spec and its values; may be repeated.")]
Parallel = Annotated[
    int | None, typer.Option("--parallel", min=1, help="Runs that live at once; left out: 1, on a cluster all that may start.")
]
Against = Annotated[str | None, typer.Option("--against", metavar="ARM", help="The baseline; left out: the first arm.")]
Folder = Annotated[
    Path | None, typer.Option("--folder", help="Where the runs' files, logs and the page go; left out: <file>-sweep beside the file.")
]


def sweep(
    file: RunFile,
    settings: Set,
    parallel: Parallel = None,
    against: Against = None,
    folder: Folder = None,
    output: FormatOption = Format.TEXT,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Carry a SERRun out in several variants, and compare them.

    Values are 0..4 (both ends included) or a list, as YAML writes it. Every combination is a run of its own; stages that two of them have
    in common are computed once. Values of training.seed and data.splitSeed repeat an arm, all other fields make arms. The same command
    goes on after an interruption, and shows the table at once when all runs have ended. With -n, --context or --kubeconfig the runs are
    SERRuns on that cluster.
    """
    place = Place(namespace, context, kubeconfig)
    target = folder or file.with_name(f"{file.stem}-sweep")
    document = resolved_document(file)
    name = str(document["metadata"]["name"])
    wanted = variants(name, document["spec"], [read_setting(text) for text in settings])
    baseline = _baseline(against, wanted)
    templates = read_templates(file)
    where: SweepRuns
    if place.given:
        where, at_once, pause = ClusterRuns(connect_cluster(place), name, specs_of(templates)), parallel or len(wanted), CLUSTER_SECONDS
    else:
        at_once, pause = _local_parallel(parallel), LOCAL_SECONDS
        where = LocalRuns(at_once)
    documents = documents_of(wanted, document, templates, where)
    new = [one for one in wanted if not file_of(target, one).exists()]
    # Whatever is refused is refused before this.
    write_files(wanted, documents, templates, target)
    if not place.given:  # a cluster may read what cannot be read from here
        _warn({one.arm: read_serrun(file_of(target, one)) for one in reversed(new)})
    with _noted_signals() as received:
        code = _carry_out(wanted, documents, where, at_once, pause, target, received)
    from ser_core.sweep.comparison import compare_arms  # numpy

    results = _results(wanted, place, target)
    rows = compare_arms(results, baseline)
    missing = [one.name for one in wanted if one.name not in {result.name for result in results}]
    if output is Format.TEXT:
        standard_output().print(sweep_view(rows, baseline, missing))
        _write_page(name, rows, baseline, missing, target)
    else:
        print_data(as_data(rows, baseline, missing), output)
    raise typer.Exit(code)


def _warn(new: Mapping[str, SERRun]) -> None:
    """Tell what the data says against arms whose runs have not begun; ``new`` holds one of each."""
    for warning in arm_warnings(new, SOON):
        print_warning(warning)


def _local_parallel(parallel: int | None) -> int:
    processors = len(os.sched_getaffinity(0))
    if parallel is not None and parallel > processors:
        raise UsageError(
            f"--parallel {parallel}: this machine has {counted(processors, 'processor')} for it",
            reason="TooManyAtOnce",
            hint=f"at most --parallel {processors}; runs that share a processor only slow each other down",
        )
    return parallel or 1


def _baseline(against: str | None, wanted: Sequence[Variant]) -> str:
    arms = list(dict.fromkeys(one.arm for one in wanted))
    if against is not None and against not in arms:
        raise UsageError(f"--against {against!r} is no arm of this sweep", reason="NoBaseline", hint=f"there are: {'; '.join(arms)}")
    return against or arms[0]


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Those that ask for an end. They are noted alone: a run may just be starting, or be looked at."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _carry_out(
    wanted: Sequence[Variant],
    documents: Sequence[Mapping[str, Any]],
    where: SweepRuns,
    parallel: int,
    pause: float,
    target: Path,
    received: Sequence[int],
) -> int:
    """Start the runs as they may start and wait for their ends; returns 0, or the exit code of the first that failed.

    A signal in ``received`` ends it.
    """
    names = [variant.name for variant in wanted]
    numbers = {name: number for number, name in enumerate(names)}
    follows = [numbers.get((document["spec"].get("from") or {}).get("run", "")) for document in documents]
    started: list[int] = []
    ended: list[int] = []
    code = 0
    while len(ended) < len(wanted):
        try:
            for number in () if received else may_start(follows, started, ended, parallel):
                try:
                    begins = where.start(number, names[number], file_of(target, wanted[number]), documents[number])
                except SpecError as error:  # the others do without it
                    begins, code = f"not started: {error.message}", code or error.exit_code
                    ended.append(number)
                started.append(number)
                say(f"{names[number]}: {begins} ({len(started)} of {len(wanted)})")
            for end in where.ended():
                say(f"{names[end.number]}: {end.told}")
                ended.append(end.number)
                code = code or end.exit_code
            for number, told_of in where.held_up():
                say(f"{names[number]}: {told_of}")
        except ClusterError as error:
            if not started or error.exit_code != ClusterError.exit_code:
                raise
            print_warning(f"{error.message}; looking again")
        if received:
            where.stop(received)
            say("interrupted; the same command goes on")
            raise typer.Exit(128 + received[0])
        if len(ended) < len(wanted):
            time.sleep(pause)
    return code


def _results(wanted: Sequence[Variant], place: Place, target: Path) -> list[RunResult]:
    found = []
    for variant in wanted:
        try:
            stored = open_run(variant.name, place) if place.given else open_run(str(file_of(target, variant)), place)
            result = read_result(stored, variant.arm)
        except SERError as error:
            print_warning(f"{variant.name}: {error.message}")
            continue
        found += [] if result is None else [result]
    return found


def _write_page(name: str, rows: Any, baseline: str, missing: Sequence[str], target: Path) -> None:
    from ser_core.report.sweep_page import render

    page, text = target / "sweep.html", render(name, rows, baseline, missing)
    with writing(page, "--folder"):
        replaced = page.is_file() and page.read_text(encoding="utf-8", errors="replace") != text
        page.write_text(text, encoding="utf-8")
    say(f"the same as a page: {page}{', in place of an earlier one, which its own command makes again' if replaced else ''}")
