"""One cell: `ser run` to its end, and what its arms reached on the held-out pairs."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import yaml

from benchmarks.science.arms import Arms
from benchmarks.science.cells import Cell, document
from benchmarks.science.rows import Result
from benchmarks.science.sets import SETS, out_of_distribution, write_model, write_set
from benchmarks.science.step_arms import StepArms
from ser_core.cli.access.place import Place
from ser_core.cli.access.stored_run import open_run
from ser_core.report.ledger import read_ledger


def measure(cell: Cell, data: Path, folder: Path, steps: Collection[str] = ()) -> Iterator[Result]:
    """Carry out a cell, or go on with it; each result comes as soon as it is measured, that of the cell's rule at the end.

    Args:
        cell: Which one.
        data: Folder of the sets' files.
        folder: Where everything is kept.
        steps: Measure these single steps of its first loop, in place of its arms.

    Raises:
        subprocess.CalledProcessError: The run failed; its words are in the log beside its file.
    """
    pairs = write_set(SETS[cell.data_set], data, folder)
    count = len(pairs.read_bytes().splitlines())
    model, file = write_model(folder), folder / cell.data_set / f"{cell.name}.yaml"
    file.write_text(yaml.safe_dump(document(cell, pairs, count, model, folder / "store"), sort_keys=False), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with file.with_suffix(".log").open("ab") as log:
        subprocess.run([str(Path(sys.executable).with_name("ser")), "run", str(file)], check=True, stdout=log, stderr=log)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    stored = open_run(str(file), Place())
    with tempfile.TemporaryDirectory(prefix="ser-science-") as place:
        others = [] if SETS[cell.data_set].documentation else out_of_distribution(data)
        arms = Arms(cell, read_ledger(stored.store, stored.run), stored.store, model, Path(place), seconds, others)
        yield from StepArms(arms).results(steps) if steps else arms.results()
