"""The status of a run is replaced, in mid-run, by whatever the CRD lets through: it counts as lost, which costs a look and no work.

A status that says that the run has ended is believed: nothing more is done, and nothing that is not the run's is deleted. One that has
failed goes on when `spec.reopen` is raised.
"""

import time
from collections.abc import Iterator, Mapping

from controlplane.faults.plans.plan import Fault, Plan, eventually, run_to_end
from controlplane.faults.scenario import Scenario
from controlplane.faults.truth_table import TRUE_CONDITIONS
from controlplane.kubelet.gate import Gate
from controlplane.plane.api_client import Object

NOW = "2026-01-31T12:00:00Z"
BYSTANDER = "bystander"


def replaced(status: Mapping[str, object] | None) -> Fault:
    """The status is patched while the label stage runs; None removes all of it."""

    def fault(scenario: Scenario) -> None:
        gate, job = _garbled_during_label(scenario, status)
        eventually(lambda: _mended(scenario, job), 120, "the status is what it was")
        before = scenario.proxy.writes().count("patch serruns/status")
        time.sleep(3)
        assert scenario.proxy.writes().count("patch serruns/status") - before <= 2, "writes without end"
        gate.release()
        run_to_end(scenario, apply=False)
        assert len(scenario.jobs()) == 5 + 1, [job["metadata"]["name"] for job in scenario.jobs()]
        assert scenario.job(BYSTANDER) is not None, "a Job of nobody was deleted"

    return fault


def ended(status: Mapping[str, object]) -> Fault:
    """The status says, while the label stage runs, that the run has ended."""

    def fault(scenario: Scenario) -> None:
        gate, _ = _garbled_during_label(scenario, status)
        known = _names(scenario)
        gate.release()
        time.sleep(5)
        assert scenario.run()["status"]["phase"] == status["phase"]
        assert _names(scenario) <= known, "a run that has ended was gone on with"
        assert scenario.job(BYSTANDER) is not None, "a Job of nobody was deleted"
        assert scenario.operator.defects() == []
        if status["phase"] == "Failed":
            scenario.patch({"spec": {"reopen": 1}})
            eventually(lambda: scenario.run()["status"]["phase"] != "Failed", 120, "the run goes on")
            run_to_end(scenario, apply=False)
            assert scenario.job(BYSTANDER) is not None, "a Job of nobody was deleted"

    return fault


def _names(scenario: Scenario) -> set[str]:
    return {job["metadata"]["name"] for job in scenario.jobs()}


def _garbled_during_label(scenario: Scenario, status: Mapping[str, object] | None) -> tuple[Gate, str]:
    """The gate that holds the pod of the label stage, and the stage's Job."""
    _make_bystander(scenario)
    gate = scenario.hold("label")
    scenario.operator.start()
    scenario.apply()
    job = gate.wait_for_pod(60).labels["job-name"]
    scenario.wait(lambda known: any(row["job"] == job for row in known.get("stages", ())), 120)
    scenario.api.patch(f"{scenario.path}/status", {"status": dict(status) if status is not None else None})
    return gate, job


def _mended(scenario: Scenario, job: str) -> bool:
    status = scenario.run().get("status") or {}
    true = {one["type"] for one in status.get("conditions", ()) if one["status"] == "True"}
    live = [row["job"] for row in status.get("stages", ()) if row["outcome"] == "Running"]
    return status.get("phase") == "Running" and live == [job] and true in TRUE_CONDITIONS["Running"] and "finishedAt" not in status


def _make_bystander(scenario: Scenario) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": BYSTANDER}, "spec": {"suspend": True, "template": {"spec": pod}}}
    scenario.api.create(scenario.collection("jobs", "apis/batch/v1"), body)


def _row(**fields: object) -> Object:
    return {"iteration": 0, "stage": "prepare", "attempt": 1, "job": BYSTANDER, "outcome": "Running", "startedAt": NOW, **fields}


def _loop(number: int, **fields: object) -> Object:
    return {"iteration": number, "learningStatus": "Seed", "devAccuracy": 0.5, **fields}


GARBAGE: Mapping[str, Mapping[str, object] | None] = {
    "removed": None,
    "empty": dict.fromkeys(("phase", "stages", "iterations", "conditions", "startedAt", "bestIteration", "rewardModel", "message")),
    "phase Pending": {"phase": "Pending"},
    "phase Suspended": {"phase": "Suspended", "suspendedAt": NOW},
    "phase BudgetExceeded": {"phase": "BudgetExceeded"},
    "finishedAt": {"finishedAt": NOW},
    "huge messages": {
        "message": "😀" * 512,
        "conditions": [
            {"type": kind, "status": "Unknown", "reason": "x" * 64, "message": "😀" * 512} for kind in ("Ready", "Stalled", "Failed")
        ],
    },
    "no times": {"startedAt": None, "stages": [_row(outcome="Failed", charged=True)]},
    "wrong iterations": {"iterations": [_loop(7), _loop(3)], "bestIteration": 99, "iteration": 2**40},
    "unfinished iterations": {"iterations": [_loop(0, devAccuracy=None), _loop(1)]},
    "committed without manifests": {"stages": [_row(outcome="Done"), _row(outcome="Done", stage="retrain")]},
    "iterations without stages": {"stages": []},
    "stages without iterations": {"iterations": []},
    "a live attempt of a foreign Job": {"stages": [_row(reason="Suspended")]},
    "64 live attempts": {"stages": [_row(attempt=number) for number in range(64)]},
    "attempts out of all bounds": {"stages": [_row(attempt=2**40, outcome="Lost"), _row(attempt=-1, outcome="Failed", exitCode=2**40)]},
    "times out of all bounds": {"suspendedAt": "9999-12-31T23:59:59Z", "suspendedSeconds": 2**60},
    "a control of nothing": {"controls": [{"control": "x", "accuracy": 2, "accuracyLow": 3, "accuracyHigh": -1}]},
}

ENDED: Mapping[str, Mapping[str, object]] = {
    "phase Completed": {"phase": "Completed"},
    "phase Failed": {"phase": "Failed"},
    "ended, with a foreign Job to stop": {"phase": "Failed", "finishedAt": None, "stages": [_row(reason="Suspended")]},
}


def plans() -> Iterator[Plan]:
    """Each kind of garbage."""
    for name, status in GARBAGE.items():
        yield Plan("garbage", name, replaced(status))
    for name, status in ENDED.items():
        yield Plan("garbage", name, ended(status))
