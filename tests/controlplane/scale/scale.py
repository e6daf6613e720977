"""`make scale`: how fast and how large one operator is, on a real control plane of this machine; printed as a table.

    python -m controlplane.scale [--only hand-over crowd restart] [--live 200] [--many 1000] [--objects 5000]

Control plane, kubelet, stage doubles and operator share the machine's processors, so these are lower bounds of what a cluster gives.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from controlplane.faults.home import Home, home
from controlplane.plane.api_client import Object
from controlplane.plane.processor_time import seconds_of
from controlplane.scale.hand_over import CASES, hand_over
from controlplane.scale.many_runs import create_runs, operator_of, wait_for
from ser_core.api.serrun import API_VERSION, SERRun
from ser_core.api.status import SERRunStatus
from ser_core.loop.deciding.stages import job_name, key_of
from ser_operator.facts.read_run import read_run, write_status


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


def restart(place: Home, folder: Path, objects: int) -> None:
    """Ready time with ``objects`` finished runs, and what a restart writes."""
    with place.scenario(folder) as scenario:
        create_runs(scenario, objects)
        status = SERRunStatus.model_validate(finished_status(place, folder))
        path = scenario.collection("serruns", f"apis/{API_VERSION}")

        def finish(body: Object) -> None:
            scenario.api.patch(f"{path}/{body['metadata']['name']}/status", {"status": write_status(as_of(read_run(body), status))})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(finish, scenario.api.items(path)))
        began = time.monotonic()
        scenario.operator.start()
        while 'ser_operator_runs{phase="Completed"}' not in scenario.operator.page("/metrics"):
            time.sleep(0.05)
        ready = time.monotonic() - began
        time.sleep(30)
        print(
            f"restart with {objects} finished runs: ready in {ready:.1f} s, {len(scenario.proxy.calls)} writes in 30 s, "
            f"{scenario.operator.megabytes():.0f} MB",
            flush=True,
        )


def finished_status(place: Home, folder: Path) -> Object:
    """The status of a run that has ended."""
    with place.scenario(folder / "finished") as scenario:
        scenario.operator.start()
        scenario.apply()
        return scenario.wait_for_end()


def as_of(run: SERRun, status: SERRunStatus) -> SERRunStatus:
    """``status`` as the operator would have written it for ``run``: its Jobs are named after the run's UID, else it counts as forged."""
    rows = [row.model_copy(update={"job": job_name(run, key_of(row), row.attempt)}) for row in status.stages]
    return status.model_copy(update={"stages": tuple(rows)})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["hand-over", "crowd", "restart"])
    parser.add_argument("--cases", nargs="+", default=CASES, help="of the hand-over")
    parser.add_argument("--live", type=int, default=200)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ser-scale-") as name:
        for what in arguments.only:
            with home(Path(name, what)) as place:
                if what == "hand-over":
                    hand_over(place, Path(name, "a"), arguments.live, arguments.cases)
                elif what == "crowd":
                    crowd(place, Path(name, "b"), arguments.many)
                else:
                    restart(place, Path(name, "c"), arguments.objects)
