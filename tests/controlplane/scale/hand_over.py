"""How soon a run's next Job follows its last one: alone, among many runs in step, beside a hostile run, among many at their own pace."""

import contextlib
import random
import statistics
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from controlplane.faults.home import Home
from controlplane.faults.scenario import Scenario
from controlplane.kubelet.containers import Double, Outcome, StartedPod
from controlplane.plane.processor_time import ProcessorTime
from controlplane.scale.hand_overs import hand_overs
from controlplane.scale.many_runs import create_runs, operator_of, wait_for
from ser_core.api.serrun import API_VERSION

HOSTILE = 9999
CASES = ("alone", "in-step", "hostile", "own-pace")


def hand_over(place: Home, folder: Path, live: int, cases: Sequence[str] = CASES, pace: tuple[float, float] = (10, 30)) -> None:
    """Measure and print some of `CASES`; with ``own-pace`` a stage takes as many seconds as ``pace`` says, at least and at most."""
    if "alone" in cases:
        alone(place, folder / "alone")
    place.stage_seconds = 20.0
    if "in-step" in cases:
        among(place, folder / "in-step", live, "stages of 20 s, begun at once")
    if "hostile" in cases:
        with place.scenario(folder / "garbled") as scenario:
            create_runs(scenario, 1, HOSTILE)
            with garbled(scenario, f"climb-{HOSTILE}"):
                measure(scenario, live, "the same beside a hostile run")
    if "own-pace" in cases:
        in_step, place.kubelet.double = place.kubelet.double, at_own_pace(place.kubelet.double, *pace)
        among(place, folder / "own-pace", live, "stages of {:g} to {:g} s".format(*pace))
        place.kubelet.double = in_step
    place.stage_seconds = 0.1


def alone(place: Home, folder: Path) -> None:
    """Three runs, one after another."""
    with place.scenario(folder) as scenario, operator_of(scenario):
        for number in range(3):
            create_runs(scenario, 1, number, loop={"maxIterations": 3})
            wait_for(scenario, number + 1, "Completed", 120)
        say("one run alone, 3 runs of 3 loops", scenario)


def among(place: Home, folder: Path, live: int, what: str) -> None:
    """``live`` runs, created together."""
    with place.scenario(folder) as scenario:
        measure(scenario, live, what)


def measure(scenario: Scenario, live: int, what: str) -> None:
    """Create ``live`` runs of one loop, wait for their end, print what the log says and what it took."""
    with operator_of(scenario) as operator:
        before = ProcessorTime.now(scenario.plane, operator.pid)
        create_runs(scenario, live)
        wait_for(scenario, live, "Completed", 600)
        taken = ProcessorTime.now(scenario.plane, operator.pid) - before
        number = say(f"{live} live runs of 1 loop, {what}", scenario)
        print(f"  processor ms for each: {taken.by(number)}; operator {operator.megabytes():.0f} MB", flush=True)


def at_own_pace(play: Double | None, shortest: float, longest: float) -> Double:
    """``play``, with stages that each take their own time, which depends on nothing but run, loop and stage."""
    assert play is not None

    def play_on(pod: StartedPod) -> Outcome:
        stage = " ".join(pod.labels[f"ser.dev/{name}"] for name in ("run", "iteration", "stage"))
        return replace(play(pod), delay=random.Random(stage).uniform(shortest, longest))

    return play_on


@contextlib.contextmanager
def garbled(scenario: Scenario, name: str) -> Iterator[None]:
    """Somebody writes nonsense into the status of a run ten times a second."""
    stop = threading.Event()
    path = f"{scenario.collection('serruns', f'apis/{API_VERSION}')}/{name}/status"

    def write() -> None:
        while not stop.wait(0.1):
            scenario.api.patch(path, {"status": {"phase": "Running", "message": "x" * 500, "stages": []}})

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def say(what: str, scenario: Scenario) -> int:
    """One line of figures; returns the number of hand-overs."""
    seconds = hand_overs(scenario.plane.audit_events(), scenario.namespace)
    high, top = percentile(seconds, 0.95), percentile(seconds, 0.99)
    milliseconds = [f"{name} {1000 * value:.0f} ms" for name, value in (("p50", statistics.median(seconds)), ("p95", high), ("p99", top))]
    print(f"hand-over, {what}: {len(seconds)} hand-overs, {', '.join(milliseconds)}", flush=True)
    return len(seconds)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
