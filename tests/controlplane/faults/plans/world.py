"""The world fails a run: store, keys, hub, disk, node, eviction, suspension. With `retries.limit: 1` a single charge would end it."""

from collections.abc import Iterator

from controlplane.faults.plans.plan import STAGES, Fault, Plan, eventually, run_to_end
from controlplane.faults.scenario import Scenario
from ser_core.api.stage import StageResult
from ser_core.api.status import StageKind

TIMES = 2
"""How often in a row: the run waits 10 s, then 20 s."""
SECONDS = 300
REPORTED = {"StoreUnavailable": 20, "StoreFull": 20, "StoreAccessDenied": 20, "CorruptObject": 20, "NodeDiskFull": 24}
"""Exit codes of what a stage reports itself."""
REJECTED = ("UnexpectedAdmissionError", "OutOfcpu", "NodeAffinity")


def reported(reason: str, exit_code: int, stage: StageKind) -> Fault:
    """Attempts of a stage end one after another as the world makes them end. The run waits, says for what, and then completes."""

    def fault(scenario: Scenario) -> None:
        told = StageResult(outcome="failed", reason=reason, message="for the test").model_dump_json(by_alias=True)
        scenario.stages.first[scenario.namespace, stage] = [(exit_code, told)] * TIMES
        _waits_and_completes(scenario, stage, reason)

    return fault


def rejected(reason: str, stage: StageKind) -> Fault:
    """The kubelet refuses the pods of a stage when they come."""

    def fault(scenario: Scenario) -> None:
        labels = {"ser.dev/run": scenario.namespace, "ser.dev/stage": stage.value}
        scenario.kubelet.reject(labels, reason, "Pod was rejected: for the test", TIMES)
        _waits_and_completes(scenario, stage, reason)

    return fault


def _waits_and_completes(scenario: Scenario, stage: StageKind, reason: str) -> None:
    seen = []

    def look() -> bool:
        status = scenario.status()
        if status.get("phase") == "Waiting":
            seen.append((next(one["reason"] for one in status["conditions"] if one["type"] == "Ready"), status["waitingSince"]))
        return True

    run_to_end(scenario, seconds=SECONDS, restart=look, retries={"limit": 1})
    assert {told for told, _ in seen} == {reason}
    assert len({since for _, since in seen}) == 1, "an attempt that found nothing changed has reset the time of waiting"
    rows = [row for row in scenario.status()["stages"] if (row["stage"], row["outcome"]) == (stage.value, "Failed")]
    assert len(rows) == TIMES or not rows  # a later stage may have pushed them out of the status


def evicted(stage: StageKind) -> Fault:
    """A pod is evicted again and again: each time its attempt ends, which is told, and the next one starts."""

    def fault(scenario: Scenario) -> None:
        gate = scenario.hold(stage.value)
        scenario.operator.start()
        scenario.apply(retries={"limit": 1})
        for count in range(1, TIMES + 2):
            pod = gate.wait_for_pod(SECONDS, count=count)
            scenario.kubelet.mark_disrupted(scenario.namespace, pod.name)
        gate.wait_for_pod(SECONDS, count=TIMES + 2)
        gate.release()
        run_to_end(scenario, apply=False, seconds=SECONDS)
        told = [event["message"] for event in scenario.events() if event["reason"] == "Interrupted"]
        ends = [message for message in told if ", attempt " in message]
        assert len(ends) == TIMES + 1 and len(told) - len(ends) <= 1, told  # and once that the run waits

    return fault


def suspended(scenario: Scenario) -> None:
    """`suspend` is flipped nine times while a stage runs: nothing is charged, and no flip makes the run wait."""
    gate = scenario.hold("retrain")
    scenario.operator.start()
    scenario.apply(retries={"limit": 1})
    for count in range(1, 10):
        gate.wait_for_pod(SECONDS, count=count)
        _wait_until_answered(scenario, "Running")  # a pod may start before the status says so
        scenario.patch({"spec": {"suspend": True}})
        _wait_until_answered(scenario, "Suspended")
        scenario.patch({"spec": {"suspend": False}})
    eventually(lambda: len(gate.pods) >= 10, 120, "the tenth pod")
    gate.release()
    run_to_end(scenario, apply=False, seconds=SECONDS)


def _wait_until_answered(scenario: Scenario, phase: str) -> None:
    """Wait until the status has a phase, and is that of the spec as it is now."""
    generation = scenario.run()["metadata"]["generation"]
    scenario.wait(lambda status: (status.get("phase"), status.get("observedGeneration")) == (phase, generation), 60)


def plans() -> Iterator[Plan]:
    """Each fault at each stage."""
    for stage in map(StageKind, STAGES):
        for reason, exit_code in REPORTED.items():
            yield Plan("world", f"{reason} in {stage.value}", reported(reason, exit_code, stage))
        for reason in REJECTED:
            yield Plan("kubelet", f"{reason} in {stage.value}", rejected(reason, stage))
        yield Plan("eviction", f"pod of {stage.value} evicted {TIMES + 1} times", evicted(stage))
    yield Plan("world", "HubUnavailable in prepare", reported("HubUnavailable", 20, StageKind.PREPARE))
    yield Plan("suspension", "nine times during retrain", suspended)
