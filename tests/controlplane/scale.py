"""`make scale`: how fast and how large one operator is, on a real control plane of this machine; printed as a table.

    python -m controlplane.scale [--only hand-over crowd restart] [--live 200] [--many 1000] [--objects 5000]

Control plane, kubelet, stage doubles and operator share the machine's processors, so these are lower bounds of what a cluster gives.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from controlplane.api_client import Object
from controlplane.home import Home, home
from controlplane.operator_process import OperatorProcess
from controlplane.scenario import SPEC, Scenario
from ser_core.api.serrun import API_VERSION, SERRun
from ser_core.api.status import SERRunStatus
from ser_core.loop.stages import job_name, key_of
from ser_operator.read_run import read_run, write_status
from ser_operator.settings import Settings

AS_SHIPPED = {name: Settings.model_fields[name].default for name in ("progress_seconds", "events_after_seconds", "workers")}
"""Scenarios look at progress and Events more often, which hundreds of runs would pay for."""


class HandOvers:
    """Watches the Jobs of a namespace: seconds from a Job seen Complete to the next Job of its run seen."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._complete: dict[str, dict[str, float]] = defaultdict(dict)
        self._made: dict[str, dict[str, float]] = defaultdict(dict)
        self._watch = scenario.api.watch(scenario.collection("jobs", "apis/batch/v1"), {"resourceVersion": "0", "timeoutSeconds": "900"})
        threading.Thread(target=self._follow, name="hand-overs", daemon=True).start()

    def _follow(self) -> None:
        for event in self._watch.events():
            now, job = time.monotonic(), event["object"]
            if event["type"] not in ("ADDED", "MODIFIED"):
                continue
            run, name = job["metadata"]["labels"]["ser.dev/run-uid"], job["metadata"]["name"]
            self._made[run].setdefault(name, now)
            if any(one["type"] == "Complete" for one in job["status"].get("conditions", ())):
                self._complete[run].setdefault(name, now)

    def seconds(self) -> list[float]:
        """One value a hand-over."""
        found = []
        for run, complete in self._complete.items():
            made = sorted(self._made[run].values())
            for moment in complete.values():
                after = [start for start in made if start > moment]
                if after:
                    found.append(after[0] - moment)
        return found

    def stop(self) -> None:
        """End the watch."""
        self._watch.stop()


def by_the_stamps(scenario: Scenario) -> list[float]:
    """One value a hand-over, in whole seconds, from what the API server and the Job controller wrote down.

    Among hundreds of runs no watch of this process tells more: its kubelet keeps it from reading events when they come.
    """
    runs: dict[str, list[Object]] = defaultdict(list)
    for job in scenario.api.items(scenario.collection("jobs", "apis/batch/v1")):
        runs[job["metadata"]["labels"]["ser.dev/run-uid"]].append(job)
    found = []
    for jobs in runs.values():
        made = sorted(seconds_of(job["metadata"]["creationTimestamp"]) for job in jobs)
        done = sorted(
            seconds_of(one["lastTransitionTime"]) for job in jobs for one in job["status"]["conditions"] if one["type"] == "Complete"
        )
        found += [start - end for end, start in zip(done, made[1:], strict=False)]
    return found


def seconds_of(stamp: str) -> float:
    """A time of the API server."""
    return datetime.fromisoformat(stamp).timestamp()


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def create_runs(scenario: Scenario, count: int, first: int = 0, **spec: object) -> list[str]:
    """Make runs ``climb-<number>``; returns their names."""
    names = [f"climb-{number}" for number in range(first, first + count)]
    path = scenario.collection("serruns", f"apis/{API_VERSION}")

    def create(name: str) -> None:
        scenario.api.create(path, {"apiVersion": API_VERSION, "kind": "SERRun", "metadata": {"name": name}, "spec": {**SPEC, **spec}})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, names))
    return names


def wait_for(scenario: Scenario, count: int, phase: str, seconds: float) -> None:
    """Wait until so many runs are in a phase."""
    deadline = time.monotonic() + seconds
    while True:
        runs = scenario.api.items(scenario.collection("serruns", f"apis/{API_VERSION}"))
        reached = sum((run.get("status") or {}).get("phase") == phase for run in runs)
        if reached >= count:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{reached} of {count} runs are {phase} after {seconds} s")
        time.sleep(0.5)


def processor_seconds(operator: OperatorProcess) -> float:
    """User and system time of the operator so far."""
    fields = Path(f"/proc/{operator.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(operator: OperatorProcess) -> float:
    """Memory of the operator now."""
    return int(Path(f"/proc/{operator.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def operator_of(scenario: Scenario, **settings: object) -> Iterator[OperatorProcess]:
    """An operator that speaks to the API server itself: the proxy of the fault tests shares a Python process with the kubelet."""
    kubeconfig = scenario.plane.kubeconfig(f"{scenario.namespace}/ser-operator")
    operator = OperatorProcess(kubeconfig, scenario.namespace, scenario.folder, **settings).start()
    try:
        yield operator
    finally:
        operator.kill()


def hand_over(place: Home, folder: Path, live: int) -> None:
    """Hand-over of one run alone, then among ``live`` others, then with a hostile one among them."""
    with place.scenario(folder / "alone") as scenario, operator_of(scenario, **AS_SHIPPED):
        seen = HandOvers(scenario)
        for first in range(3):
            create_runs(scenario, 1, first, loop={"maxIterations": 3})
            wait_for(scenario, first + 1, "Completed", 120)
        say("one run alone, 3 runs of 3 loops", seen.seconds())
        seen.stop()
    place.stage_seconds = 20.0
    for hostile in (0, 1):
        with place.scenario(folder / f"live-{hostile}") as scenario, operator_of(scenario, **AS_SHIPPED) as operator:
            if hostile:
                create_runs(scenario, 1, 9999)
                stop = garble(scenario, "climb-9999")
            create_runs(scenario, live)
            wait_for(scenario, live, "Completed", 600)
            say(
                f"{live} live runs{' and a hostile one' if hostile else ''}, 1 loop, stages of 20 s, by whole seconds",
                by_the_stamps(scenario),
            )
            print(f"  operator: {processor_seconds(operator):.1f} CPU-s, {resident_megabytes(operator):.0f} MB", flush=True)
            if hostile:
                stop.set()
    place.stage_seconds = 0.1


def garble(scenario: Scenario, name: str) -> threading.Event:
    """Somebody writes nonsense into the status of a run ten times a second."""
    stop = threading.Event()
    path = f"{scenario.collection('serruns', f'apis/{API_VERSION}')}/{name}/status"

    def write() -> None:
        while not stop.wait(0.1):
            scenario.api.patch(path, {"status": {"phase": "Running", "message": "x" * 500, "stages": []}})

    threading.Thread(target=write, daemon=True).start()
    return stop


def say(what: str, seconds: Sequence[float]) -> None:
    """One line of figures."""
    middle, high, top = statistics.median(seconds), percentile(seconds, 0.95), percentile(seconds, 0.99)
    print(
        f"hand-over, {what}: {len(seconds)} hand-overs, p50 {middle * 1000:.0f} ms, p95 {high * 1000:.0f} ms, p99 {top * 1000:.0f} ms",
        flush=True,
    )


def crowd(place: Home, folder: Path, many: int) -> None:
    """``many`` live runs, each with a stage that computes: what the operator takes while they run."""
    place.stage_seconds = 3600.0
    with place.scenario(folder) as scenario, operator_of(scenario, **AS_SHIPPED) as operator:
        began = time.monotonic()
        create_runs(scenario, many)
        wait_for(scenario, many, "Running", 300)
        started = time.monotonic() - began
        time.sleep(15)
        before, moment = processor_seconds(operator), time.monotonic()
        time.sleep(60)
        share = (processor_seconds(operator) - before) / (time.monotonic() - moment)
        print(
            f"{many} live runs: all started in {started:.1f} s, then {100 * share:.1f} % of one processor, "
            f"{resident_megabytes(operator):.0f} MB",
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
            f"{resident_megabytes(scenario.operator):.0f} MB",
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
    parser.add_argument("--live", type=int, default=200)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ser-scale-") as name:
        for what in arguments.only:
            with home(Path(name, what)) as place:
                if what == "hand-over":
                    hand_over(place, Path(name, "a"), arguments.live)
                elif what == "crowd":
                    crowd(place, Path(name, "b"), arguments.many)
                else:
                    restart(place, Path(name, "c"), arguments.objects)


if __name__ == "__main__":
    main()
