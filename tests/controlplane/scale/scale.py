"""`make scale`: how fast and how large one operator is, on a real control plane of this machine; printed as a table.

    python -m controlplane.scale [--only hand-over crowd restart ended] [--live 200] [--many 1000] [--objects 10000] [--with-jobs 200]
        [--pace 10 30]

Control plane, kubelet, stage doubles and operator share the machine's processors, so these are lower bounds of what a cluster gives.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from controlplane.faults.home import Home, home
from controlplane.faults.scenario import Scenario
from controlplane.plane.api_client import Object
from controlplane.plane.processor_time import seconds_of
from controlplane.scale.ended import ended
from controlplane.scale.hand_over import CASES, hand_over
from controlplane.scale.many_runs import as_of, create_runs, is_ready, operator_of, wait_for, writes_on
from ser_core.api.serrun import API_VERSION
from ser_core.api.status import SERRunStatus
from ser_operator.facts.serruns.read_run import read_run, write_status

FOUR_LOOPS = {"maxIterations": 4}
"""As a run has by default: the status grows with the loops."""


def crowd(place: Home, folder: Path, many: int) -> None:
    """``many`` live runs, each with a stage that computes: what the operator takes while they run."""
    place.stage_seconds = 3600.0
    with place.scenario(folder) as scenario, operator_of(scenario) as operator:
        began = time.monotonic()
        create_runs(scenario, many)
        wait_for(scenario, many, "Running", 300)
        started = time.monotonic() - began
        time.sleep(15)
        before, moment = seconds_of(operator.pid), time.monotonic()
        time.sleep(60)
        share = (seconds_of(operator.pid) - before) / (time.monotonic() - moment)
        print(
            f"{many} live runs: all started in {started:.1f} s, then {100 * share:.1f} % of one processor, {operator.megabytes():.0f} MB",
            flush=True,
        )
    place.stage_seconds = 0.1


def restart(place: Home, folder: Path, objects: int, with_jobs: int) -> None:
    """Ready time with ``objects`` finished runs, of which the last ``with_jobs`` have Jobs and pods; what a restart writes and takes."""
    status = SERRunStatus.model_validate(finished_status(place, folder))
    with place.scenario(folder) as scenario:
        finished_runs(scenario, objects - with_jobs, status)
        all_completed = f'ser_operator_runs{{phase="Completed"}} {objects}.0\n'
        with operator_of(scenario) as operator:
            create_runs(scenario, with_jobs, objects - with_jobs)
            while all_completed not in operator.page("/metrics"):
                time.sleep(2)
        began = time.monotonic()
        with operator_of(scenario) as operator:
            while not is_ready(operator):
                time.sleep(0.05)
            ready = time.monotonic() - began
            time.sleep(60)  # kopf lists everything once more
            page = operator.page("/metrics")
            assert all_completed in page
            print(
                f"restart with {objects} finished runs, {with_jobs} of them with Jobs and pods: ready in {ready:.1f} s, "
                f"{writes_on(page)} writes in 60 s, {operator.megabytes():.0f} MB, at most {operator.most_megabytes():.0f} MB, "
                f"{page.count(chr(10))} lines of metrics",
                flush=True,
            )


def finished_runs(scenario: Scenario, count: int, status: SERRunStatus) -> None:
    """Runs that ended with ``status``, and whose Jobs are gone."""
    create_runs(scenario, count, loop=FOUR_LOOPS)
    path = scenario.collection("serruns", f"apis/{API_VERSION}")

    def finish(body: Object) -> None:
        scenario.api.patch(f"{path}/{body['metadata']['name']}/status", {"status": write_status(as_of(read_run(body), status), {})})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(finish, scenario.api.items(path)))


def finished_status(place: Home, folder: Path) -> Object:
    """The status of a run that has ended."""
    with place.scenario(folder / "finished") as scenario:
        scenario.operator.start()
        scenario.apply(loop=FOUR_LOOPS)
        return scenario.wait_for_end()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["hand-over", "crowd", "restart", "ended"])
    parser.add_argument("--cases", nargs="+", default=CASES, help="of the hand-over")
    parser.add_argument("--pace", nargs=2, type=float, default=(10, 30), help="shortest and longest stage of own-pace, in seconds")
    parser.add_argument("--live", type=int, default=200)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--with-jobs", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ser-scale-") as name:
        if "ended" in arguments.only:
            ended(Path(name, "ended"), arguments.objects, arguments.with_jobs)
        for what in (one for one in arguments.only if one != "ended"):
            with home(Path(name, what)) as place:
                if what == "hand-over":
                    hand_over(place, Path(name, "a"), arguments.live, arguments.cases, tuple(arguments.pace))
                elif what == "crowd":
                    crowd(place, Path(name, "b"), arguments.many)
                else:
                    restart(place, Path(name, "c"), arguments.objects, arguments.with_jobs)
