"""`make faults`: everything that can go wrong between a run's first and last write, each fault in a namespace of its own, counted.

    python -m controlplane.faults [--only crash watch …] [--parallel 4] [--loops 1]

A plan is one fault at one place. It passes when the run completes, every stage was computed once, and no two Jobs of a stage lived at
the same time. The table at the end says how many plans of each kind passed, and how long the runs took to end after the fault.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from controlplane.fault_proxy import Call
from controlplane.home import Home, home
from controlplane.scenario import Scenario

Fault = Callable[[Scenario], None]
"""Applied to a scenario whose operator has not started yet; returns once the run has ended."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One fault at one place."""

    kind: str
    name: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended."""

    plan: Plan
    seconds: float
    writes: int
    problem: str


def crash(number: int, side: str) -> Fault:
    """SIGKILL the operator at its ``number``-th write, before or after the API server has it; it is started again at once."""

    def fault(scenario: Scenario) -> None:
        def kill(call: Call, _code: int = 0) -> bool:
            if call.number == number:
                scenario.operator.kill()
            return call.number == number

        setattr(scenario.proxy, side, kill)
        run_to_end(scenario)

    return fault


def lost_answers(scenario: Scenario) -> None:
    """Every Job is created, and no answer says so."""
    scenario.proxy.after = lambda call, code: call.what == "create jobs" and code < 300
    run_to_end(scenario)


def late_watch(seconds: float) -> Fault:
    """Everything that a watch says comes late."""

    def fault(scenario: Scenario) -> None:
        scenario.proxy.watch_delay = seconds
        run_to_end(scenario, seconds=60 + 12 * seconds)

    return fault


def lost_deletions(scenario: Scenario) -> None:
    """No watch ever says that anything is gone, while a Job is deleted by hand in the middle."""
    scenario.proxy.keep_event = lambda event: event.get("type") != "DELETED"
    run_to_end(scenario, on_stage={"label": scenario.delete_job})


def deaf_watch(scenario: Scenario) -> None:
    """No watch says anything at all: the resync alone moves the run."""
    scenario.proxy.keep_event = lambda event: event.get("type") == "BOOKMARK"
    run_to_end(scenario, seconds=120)


def lost_connection(scenario: Scenario) -> None:
    """The API server cannot be reached for ten seconds in the middle."""

    def cut(_job: str) -> None:
        scenario.proxy.cut()
        threading.Timer(10, scenario.proxy.heal).start()

    run_to_end(scenario, seconds=120, on_stage={"retrain": cut})


def two_operators(scenario: Scenario) -> None:
    """A second operator works beside the first."""
    with scenario.another_operator() as (_, other):
        other.start()
        run_to_end(scenario)


def conflict_storm(scenario: Scenario) -> None:
    """Somebody labels the run twenty times a second."""
    stop = threading.Event()

    def storm() -> None:
        for number in itertools.count():
            if stop.wait(0.05):
                return
            scenario.patch({"metadata": {"labels": {"storm": str(number)}}})

    scenario.apply()
    thread = threading.Thread(target=storm, daemon=True)
    thread.start()
    try:
        run_to_end(scenario, apply=False)
    finally:
        stop.set()
        thread.join()


def vanished_result(scenario: Scenario) -> None:
    """A Job ends and vanishes with its pod while the operator is down: the result is looked for, and nothing is computed again."""
    before = sum(scenario.stages.reported.values())

    def vanish(job: str) -> None:
        scenario.operator.kill()
        threading.Thread(target=gone, args=(job,), daemon=True).start()

    def gone(job: str) -> None:
        while not (scenario.job(job) or {"status": {}})["status"].get("completionTime"):
            time.sleep(0.05)
        scenario.delete_job(job)
        down.clear()

    down = threading.Event()
    down.set()
    run_to_end(scenario, on_stage={"prepare": vanish}, seconds=120, restart=lambda: not down.is_set())
    assert sum(scenario.stages.reported.values()) > before, "the result was not looked for in report mode"


def deleted_by_hand(kind: str, stage: str) -> Fault:
    """Somebody deletes the Job or the pod of a running stage."""

    def fault(scenario: Scenario) -> None:
        act = scenario.delete_job if kind == "job" else scenario.delete_pod
        # What becomes of a deleted Job's process is nobody's to see, so it is charged unless it had committed.
        run_to_end(scenario, on_stage={stage: act}, seconds=120, charged=range(2 if kind == "job" else 1))

    return fault


def killed_pod(stage: str) -> Fault:
    """The process of a stage gets SIGKILL: charged, and tried again after a pause."""

    def kill(scenario: Scenario) -> None:
        def act(job: str) -> None:
            for pod in scenario.pods(job):
                scenario.kubelet.kill(scenario.namespace, pod["metadata"]["name"])

        run_to_end(scenario, on_stage={stage: act}, seconds=120, charged=range(1, 2))

    return kill


def api_server_restart(scenario: Scenario) -> None:
    """The API server is killed and started again in the middle."""
    run_to_end(scenario, seconds=120, on_stage={"label": lambda _job: scenario.plane.restart("apiserver")})


def run_to_end(
    scenario: Scenario,
    *,
    apply: bool = True,
    seconds: float = 90,
    on_stage: Mapping[str, Callable[[str], object]] | None = None,
    charged: range = range(1),
    restart: Callable[[], bool] = lambda: True,
    **spec: object,
) -> None:
    """Start the operator and a run, let things happen while the stages named are held, restart a dead operator, check the oracles."""
    gates = {stage: (scenario.hold(stage), act) for stage, act in (on_stage or {}).items()}

    def tend() -> None:
        for stage, (gate, act) in list(gates.items()):
            if gate.pods:
                del gates[stage]
                act(gate.pods[0].labels["job-name"])
                gate.release()
        if restart():
            scenario.operator.restart_when_dead()

    scenario.operator.start()
    if apply:
        scenario.apply(**spec)
    scenario.wait_for_end(seconds, tend=tend)
    scenario.check(charged=charged)


def plans(writes: int) -> Iterator[Plan]:
    """All plans for a run that makes ``writes`` writes when nothing disturbs it."""
    for number, side in itertools.product(range(writes), ("before", "after")):
        yield Plan("crash", f"{side} write {number}", crash(number, side))
    yield Plan("answer", "every create's answer lost", lost_answers)
    for delay in (6, 30, 120):
        yield Plan("watch", f"{delay} s late", late_watch(delay))
    yield Plan("watch", "no DELETED events", lost_deletions)
    yield Plan("watch", "no events at all", deaf_watch)
    yield Plan("connection", "cut for 10 s", lost_connection)
    yield Plan("operators", "two at once", two_operators)
    yield Plan("conflicts", "20 Hz", conflict_storm)
    yield Plan("vanish", "finished Job gone, operator down", vanished_result)
    for kind, stage in itertools.product(("job", "pod"), ("prepare", "label", "filter", "retrain")):
        yield Plan("hand", f"{kind} of {stage} deleted", deleted_by_hand(kind, stage))
    for stage in ("prepare", "label", "filter", "retrain"):
        yield Plan("kill", f"pod of {stage} SIGKILLed", killed_pod(stage))


def plans_alone() -> Iterator[Plan]:
    """Plans that disturb every run of the cluster, to be carried out one by one."""
    yield Plan("API server", "SIGKILL and restart", api_server_restart)


def carry_out(plan: Plan, place: Home, folder: Path) -> Outcome:
    """Carry one plan out in a new namespace."""
    began = time.monotonic()
    try:
        with place.scenario(folder, resync_seconds=20 if plan.kind == "watch" else 300) as scenario:
            plan.fault(scenario)
            return Outcome(plan, time.monotonic() - began, len(scenario.proxy.writes()), "")
    except Exception as error:
        traceback.print_exc()
        return Outcome(plan, time.monotonic() - began, 0, f"{type(error).__name__}: {str(error)[:300]}")


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
        for at, plan in enumerate(plan for plan in plans_alone() if wanted(plan)):
            outcomes.append(carry_out(plan, place, Path(name, f"alone-{at}")))
            report(outcomes[-1])
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


if __name__ == "__main__":
    sys.exit(main())
