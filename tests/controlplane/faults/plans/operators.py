"""The operator dies, or is not alone, or cannot write."""

import contextlib
import itertools
import time
from collections.abc import Iterator

from controlplane.faults.fault_proxy import Call
from controlplane.faults.plans.plan import Fault, Plan, eventually, run_to_end
from controlplane.faults.scenario import ENDED, SPEC, Scenario
from ser_core.api.serrun import API_VERSION

NEIGHBOURS = 5
QUIET_SECONDS = 8


def crash(number: int, side: str) -> Fault:
    """SIGKILL the operator at its ``number``-th write, before or after the API server has it; it is started again at once."""

    def fault(scenario: Scenario) -> None:
        kill_at(scenario, number, side)
        run_to_end(scenario)

    return fault


def kill_at(scenario: Scenario, number: int, side: str) -> None:
    """Let the operator die at its ``number``-th write."""

    def kill(call: Call, _code: int = 0) -> bool:
        if call.number == number:
            scenario.operator.kill()
        return call.number == number

    setattr(scenario.proxy, side, kill)


def lost_answers(scenario: Scenario) -> None:
    """Every Job is created, and no answer says so."""
    scenario.proxy.after = lambda call, code: call.what == "create jobs" and code < 300
    run_to_end(scenario)


def two_operators(scenario: Scenario) -> None:
    """A second operator works beside the first."""
    with scenario.another_operator() as (_, other):
        other.start()
        run_to_end(scenario)


def one_of_two_crashes(number: int, side: str) -> Fault:
    """A second operator works beside the first for the whole run, and the first one dies in the middle and comes back."""

    def fault(scenario: Scenario) -> None:
        kill_at(scenario, number, side)
        with scenario.another_operator() as (_, other):
            other.start()
            run_to_end(scenario)
            assert other.running
        assert scenario.operator.starts == 2, "the first operator did not get as far as its crash"

    return fault


def unwritable_status(code: int) -> Fault:
    """Every status write of one run is refused: its neighbours do not notice, and once the refusal ends it completes as well."""

    def fault(scenario: Scenario) -> None:
        refused: list[float] = []

        def refuse(call: Call) -> int:
            if f"/serruns/{scenario.namespace}/status" not in call.path:
                return 0
            refused.append(time.monotonic())
            return code

        scenario.proxy.refuse = refuse
        scenario.operator.start()
        scenario.apply()
        eventually(lambda: len(refused) > 1, 120, "the status is written and refused")
        neighbours = [f"{scenario.namespace}-neighbour-{number}" for number in range(NEIGHBOURS)]
        for name in neighbours:
            body = {"apiVersion": API_VERSION, "kind": "SERRun", "metadata": {"name": name}, "spec": dict(SPEC)}
            scenario.api.create(scenario.collection("serruns", f"apis/{API_VERSION}"), body)
        eventually(lambda: _completed(scenario) == set(neighbours), 120, "the neighbours complete")
        began = time.monotonic()
        time.sleep(QUIET_SECONDS)
        tries = sum(moment > began for moment in refused)
        assert tries <= 2, f"{tries} tries in {QUIET_SECONDS} s, long after the first"
        scenario.proxy.refuse = lambda _call: 0
        scenario.patch({"metadata": {"labels": {"look": "again"}}})  # its pause may be five minutes long by now
        scenario.wait_for_end(60)
        scenario.check()

    return fault


def _completed(scenario: Scenario) -> set[str]:
    runs = scenario.api.items(scenario.collection("serruns", f"apis/{API_VERSION}"))
    phases = {run["metadata"]["name"]: run.get("status", {}).get("phase") for run in runs}
    assert "Failed" not in phases.values(), phases
    with contextlib.suppress(KeyError):
        assert phases[scenario.namespace] not in ENDED, "the unwritable status was written"
    return {name for name, phase in phases.items() if phase == "Completed"}


def plans(writes: int) -> Iterator[Plan]:
    """For a run that makes ``writes`` writes when nothing disturbs it."""
    for number, side in itertools.product(range(writes), ("before", "after")):
        yield Plan("crash", f"{side} write {number}", crash(number, side))
    yield Plan("answer", "every create's answer lost", lost_answers)
    yield Plan("operators", "two at once", two_operators)
    for number, side in itertools.product((2, 5), ("before", "after")):
        yield Plan("operators", f"two at once, one dies {side} its write {number}", one_of_two_crashes(number, side))
    for code in (500, 422):
        yield Plan("isolation", f"status writes of one run answered with {code}", unwritable_status(code))
