"""The ladder, in pieces: results are added to benchmarks/science/results.jsonl, one line for each arm of a finished run.

    python -m benchmarks.science run [--minutes 10] [--sets docs-700] [--seeds 0 1] [--data DIRECTORY]
    python -m benchmarks.science steps [the same]          # single steps of the first loop, once the arms are measured
    python -m benchmarks.science table                     # into docs/results.md

Interrupted, it goes on where it stopped: each run is a `ser run` whose stages are stored below build/science.
"""

import argparse
import subprocess
import time
from pathlib import Path

from benchmarks.science.cells import SEEDS, cells
from benchmarks.science.document import DOCUMENT, with_tables
from benchmarks.science.measure import measure
from benchmarks.science.rows import append_results, read_results
from benchmarks.science.sets import ROOT, SETS
from benchmarks.science.steps import STEPS

STEP_BUDGETS = (0.15, 0.05)


def main() -> None:
    """Run some cells, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "steps", "table"))
    parser.add_argument("--minutes", type=float, default=10, help="no cell is begun after that (default: %(default)s)")
    parser.add_argument("--sets", nargs="+", default=["docs-700", "docs-2800"], choices=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[*SEEDS], choices=SEEDS, help="so that two processes take different splits")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with the files of the other sets")
    arguments = parser.parse_args()
    if arguments.what == "table":
        DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8"), read_results()), encoding="utf-8")
        return
    until, steps = time.monotonic() + 60 * arguments.minutes, arguments.what == "steps"
    for cell in cells(arguments.sets, arguments.seeds):
        if steps and (cell.rule != "calibrated" or cell.budget not in STEP_BUDGETS):
            continue
        done = {one.arm for one in read_results() if (one.data_set, one.budget, one.seed) == (cell.data_set, cell.budget, cell.seed)}
        missing = [arm for arm in (STEPS if steps else [cell.rule]) if arm not in done]
        if not missing:
            continue
        if time.monotonic() > until:
            break
        try:
            for one in measure(cell, arguments.data, ROOT / "build" / "science", missing if steps else ()):
                append_results([one])
                print(f"{cell.name}: {one.arm} {one.accuracy:.3f}", flush=True)
        except subprocess.CalledProcessError as error:
            print(f"{cell.name}: ser run ended with {error.returncode}; see its log in build/science/{cell.data_set}", flush=True)


if __name__ == "__main__":
    main()
