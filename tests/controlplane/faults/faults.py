"""`make faults`: everything that can go wrong between a run's first and last write, each fault in a namespace of its own, counted.

    python -m controlplane.faults [--only crash watch …] [--parallel 4]

A plan is one fault at one place (`plans`). It passes when the run completes, every stage was computed once, no two Jobs of
a stage lived at the same time, and no operator met a defect; or, for a deleted run, when nothing is left of it. The table
at the end says how many plans of each kind passed, how long they took, and how many writes.
"""

import argparse
import statistics
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from controlplane.faults.home import Home, home
from controlplane.faults.plans import deletion, garbage, jobs, meddling, operators, queue, strangers, watching, world
from controlplane.faults.plans.plan import Plan, run_to_end
from controlplane.kueue.process import Kueue, why_not


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended."""

    plan: Plan
    seconds: float
    writes: int
    problem: str


def plans(writes: int) -> Iterator[Plan]:
    """All plans for a run that makes ``writes`` writes when nothing disturbs it, but those that need a cluster to themselves or a queue."""
    yield from operators.plans(writes)
    for concern in (watching, jobs, deletion, meddling, strangers, garbage, world):
        yield from concern.plans()


def carry_out(plan: Plan, place: Home, folder: Path) -> Outcome:
    """Carry one plan out in a new namespace."""
    began = time.monotonic()
    try:
        with place.scenario(folder, **{"resync_seconds": 300, **plan.settings}) as scenario:
            plan.fault(scenario)
            return Outcome(plan, time.monotonic() - began, len(scenario.proxy.writes()), "")
    except Exception as error:
        traceback.print_exc()
        return Outcome(plan, time.monotonic() - began, 0, f"{type(error).__name__}: {str(error)[:300]}")


def carry_out_queued(queued: list[Plan], place: Home, folder: Path) -> list[Outcome]:
    """Carry plans out with Kueue, which from now on has a say in every Job of the cluster."""
    folder.mkdir()
    if reason := why_not(folder):
        print(f"queue: left out: {reason}")
        return []
    with Kueue(place.plane, folder / "kueue"):
        outcomes = []
        for at, plan in enumerate(queued):
            outcomes.append(carry_out(plan, place, folder / str(at)))
            report(outcomes[-1])
        return outcomes


def main() -> int:
    """Carry all plans out and print the table. 1: a plan failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="kinds of plans (default: all)")
    parser.add_argument("--parallel", type=int, default=4, help="plans at the same time (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ser-faults-") as name, home(Path(name)) as place:
        undisturbed = carry_out(Plan("none", "undisturbed", run_to_end), place, Path(name, "undisturbed"))
        report(undisturbed)
        wanted = lambda plan: not arguments.only or plan.kind in arguments.only  # noqa: E731
        outcomes = []
        with ThreadPoolExecutor(arguments.parallel) as pool:
            chosen = [plan for plan in plans(undisturbed.writes) if wanted(plan)]
            futures = [pool.submit(carry_out, plan, place, Path(name, str(at))) for at, plan in enumerate(chosen)]
            for future in futures:
                outcomes.append(future.result())
                report(outcomes[-1])
        for at, plan in enumerate(plan for plan in watching.plans_alone() if wanted(plan)):
            outcomes.append(carry_out(plan, place, Path(name, f"alone-{at}")))
            report(outcomes[-1])
        queued = [plan for plan in queue.plans() if wanted(plan)]
        if queued:
            outcomes += carry_out_queued(queued, place, Path(name, "queued"))
    print(table([undisturbed, *outcomes]))
    return int(any(outcome.problem for outcome in (undisturbed, *outcomes)))


def report(said: Outcome) -> None:
    """One line as soon as a plan has ended."""
    print(f"{said.plan.kind}: {said.plan.name}: {said.problem or 'ok'} ({said.seconds:.1f} s, {said.writes} writes)", flush=True)


def table(outcomes: list[Outcome]) -> str:
    """Plans, passed plans and times by kind."""
    lines = ["| fault | plans | passed | median s | longest s | most writes |", "|---|---|---|---|---|---|"]
    for kind in dict.fromkeys(outcome.plan.kind for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.plan.kind == kind]
        seconds = [outcome.seconds for outcome in mine]
        passed = sum(not outcome.problem for outcome in mine)
        most = max(outcome.writes for outcome in mine)
        lines.append(f"| {kind} | {len(mine)} | {passed} | {statistics.median(seconds):.1f} | {max(seconds):.1f} | {most} |")
    return "\n".join(lines)
