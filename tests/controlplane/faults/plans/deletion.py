"""The run is deleted at every stage, with the operator up and down, by every propagation policy; and created again."""

import itertools
import time
from collections.abc import Iterator

from controlplane.faults.fault_proxy import Call
from controlplane.faults.plans.plan import STAGES, Fault, Plan, eventually, run_to_end
from controlplane.faults.scenario import Scenario

GONE_SECONDS = 120
QUIET_SECONDS = 3
"""How long nothing may happen after the last of a run is gone."""
POLICIES = ("Background", "Foreground", "Orphan")


def deleted(stage: str, policy: str, *, up: bool) -> Fault:
    """The run is deleted while a stage runs.

    With ``Orphan`` its Jobs stay and end by themselves, as whoever asks for it wants: nobody adopts, stops or follows them.
    """

    def fault(scenario: Scenario) -> None:
        gate = scenario.hold(stage)
        scenario.operator.start()
        scenario.apply()
        gate.wait_for_pod(60)
        if not up:
            scenario.operator.kill()
        before = _jobs(scenario)
        scenario.delete(policy)
        eventually(lambda: _gone(scenario) and (policy == "Orphan" or _empty(scenario)), GONE_SECONDS, f"gone: {_left(scenario)}")
        gate.release()
        scenario.operator.restart_when_dead()
        if policy == "Orphan":
            eventually(lambda: all("completionTime" in job["status"] for job in scenario.jobs()), 120, "the orphans end")
        time.sleep(QUIET_SECONDS)
        assert _jobs(scenario) == (before if policy == "Orphan" else {}), "Jobs were created or deleted after the run was gone"
        assert all(not job["metadata"].get("ownerReferences") for job in scenario.jobs())
        assert scenario.operator.running
        assert scenario.operator.defects() == []

    return fault


def deleted_before_create(policy: str, number: int) -> Fault:
    """The run is deleted after a Job was decided on and before it is created: its owner is gone when it comes into being."""

    def fault(scenario: Scenario) -> None:
        seen = []

        def delete(call: Call) -> None:
            if call.what == "create jobs":
                seen.append(call)
                if len(seen) == number:
                    scenario.delete(policy)
                    eventually(lambda: _gone(scenario), GONE_SECONDS, "the run is gone")

        scenario.proxy.before = delete
        scenario.operator.start()
        scenario.apply()
        eventually(lambda: len(seen) >= number and _gone(scenario), 120, "the run is gone")
        orphans = number - 1 if policy == "Orphan" else 0
        eventually(lambda: len(scenario.jobs()) == orphans, GONE_SECONDS, f"no Job is left: {_left(scenario)}")
        time.sleep(QUIET_SECONDS)
        assert len(seen) == number
        assert len(scenario.jobs()) == orphans
        assert scenario.operator.defects() == []

    return fault


def deleted_when_completed(policy: str, *, up: bool) -> Fault:
    """A completed run is deleted."""

    def fault(scenario: Scenario) -> None:
        run_to_end(scenario)
        if not up:
            scenario.operator.kill()
        scenario.delete(policy)
        eventually(lambda: _gone(scenario) and _empty(scenario), GONE_SECONDS, f"gone: {_left(scenario)}")
        scenario.operator.restart_when_dead()
        time.sleep(QUIET_SECONDS)
        assert _empty(scenario)
        assert scenario.operator.defects() == []

    return fault


def created_again(stage: str, policy: str, *, up: bool) -> Fault:
    """The run is deleted while a stage runs, and created again under the same name: the new one begins from nothing."""

    def fault(scenario: Scenario) -> None:
        gate = scenario.hold(stage)
        scenario.operator.start()
        old = scenario.apply()
        gate.wait_for_pod(60)
        if not up:
            scenario.operator.kill()
        before = _jobs(scenario)
        scenario.delete(policy)
        eventually(lambda: _gone(scenario), GONE_SECONDS, "the run is gone")
        new = scenario.apply()
        gate.release()
        run_to_end(scenario, apply=False)
        assert old != new
        names = {
            job["metadata"]["name"] for job in scenario.jobs() if job["spec"]["template"]["metadata"]["labels"]["ser.dev/run-uid"] == new
        }
        assert len(names) == 5
        assert not names & before.keys(), "a Job of the new run has the name of one of the old run"
        left = names | (before.keys() if policy == "Orphan" else set())
        eventually(lambda: _jobs(scenario).keys() == left, GONE_SECONDS, f"the Jobs of the old run are collected: {_left(scenario)}")

    return fault


def created_again_before_an_answer(number: int) -> Fault:
    """The run is deleted and created again between a status write and its answer, which is the last word of the old run and comes late."""

    def fault(scenario: Scenario) -> None:
        writes, news = [], []

        def create_again(call: Call, code: int) -> None:
            if call.what == "patch serruns/status" and code < 300 and not news:
                writes.append(call)
                if len(writes) == number:
                    scenario.delete()
                    eventually(lambda: _gone(scenario), GONE_SECONDS, "the run is gone")
                    news.append(scenario.apply())
                    time.sleep(QUIET_SECONDS)  # the watch has told of both

        scenario.proxy.after = create_again
        scenario.operator.start()
        scenario.apply()
        eventually(lambda: news, 120, f"the status is written {number} times")
        run_to_end(scenario, apply=False)
        assert scenario.run()["metadata"]["uid"] == news[0]

    return fault


def _gone(scenario: Scenario) -> bool:
    return scenario.api.find(scenario.path) is None


def _empty(scenario: Scenario) -> bool:
    return not scenario.jobs() and not scenario.api.items(scenario.collection("pods"))


def _left(scenario: Scenario) -> list[str]:
    return [thing["metadata"]["name"] for thing in (*scenario.jobs(), *scenario.api.items(scenario.collection("pods")))]


def _jobs(scenario: Scenario) -> dict[str, str]:
    return {job["metadata"]["name"]: job["metadata"]["uid"] for job in scenario.jobs()}


def plans() -> Iterator[Plan]:
    """Every stage, every policy, operator up and down."""
    for stage, policy, up in itertools.product(STAGES, POLICIES, (True, False)):
        yield Plan("delete", f"{stage}, {policy}, operator {_word(up)}", deleted(stage, policy, up=up))
    for policy, up in itertools.product(POLICIES[:2], (True, False)):
        yield Plan("delete", f"completed, {policy}, operator {_word(up)}", deleted_when_completed(policy, up=up))
    for policy, number in itertools.product(POLICIES, (1, 3)):
        yield Plan("delete", f"before its Job {number} is created, {policy}", deleted_before_create(policy, number))
    for stage, up in itertools.product(STAGES, (True, False)):
        yield Plan("recreate", f"{stage}, operator {_word(up)}", created_again(stage, "Background", up=up))
    for policy in ("Foreground", "Orphan"):
        yield Plan("recreate", f"label, {policy}", created_again("label", policy, up=True))
    for number in (1, 4):
        yield Plan("recreate", f"before the answer to status write {number}", created_again_before_an_answer(number))


def _word(up: bool) -> str:
    return "up" if up else "down"
