"""Jobs and pods that are not ours carry our names and labels: they are neither adopted nor deleted."""

import contextlib
import time
from collections.abc import Iterator

from controlplane.faults.plans.plan import Fault, Plan, run_to_end
from controlplane.faults.scenario import Scenario
from controlplane.plane.api_client import ApiError, Object
from ser_core.api.status import StageKind
from ser_core.loop.deciding.stages import StageKey, job_name
from ser_operator.facts.serruns.read_run import read_run

POD = {"restartPolicy": "Never", "schedulerName": "nobody", "containers": [{"name": "stage", "image": "x"}]}
"""No node takes it."""


def foreign_jobs(scenario: Scenario) -> None:
    """Jobs of nobody and of others, with our labels and our run's UID, one running and one ended: never adopted, never deleted."""
    strangers = {}

    def meddle(job: str) -> None:
        ours = scenario.job(job)
        assert ours is not None
        for name, references in (("nobodys", []), ("others", [_real_stranger(scenario)])):
            body = _copy(scenario, ours, name)
            body["metadata"]["ownerReferences"] = references
            made = scenario.api.create(scenario.collection("jobs", "apis/batch/v1"), body)
            strangers[name] = made["metadata"]["uid"]
        time.sleep(1)

    run_to_end(scenario, on_stage={"retrain": meddle}, alone=False)
    assert strangers == {name: (scenario.job(name) or {"metadata": {"uid": ""}})["metadata"]["uid"] for name in strangers}
    assert len(scenario.jobs()) == 5 + len(strangers)


def taken_name(*, suspended: bool) -> Fault:
    """Our very next Job's name is taken by a Job that is not ours: the run is stalled and says so, and goes on once that one is deleted."""

    def fault(scenario: Scenario) -> None:
        def meddle(job: str) -> None:
            ours = scenario.job(job)
            assert ours is not None
            body = _copy(scenario, ours, _next_name(scenario, StageKind.LABEL, 1))
            body["spec"]["suspend"] = suspended
            scenario.api.create(scenario.collection("jobs", "apis/batch/v1"), body)

        gate = scenario.hold("retrain")
        scenario.operator.start()
        scenario.apply()
        meddle(gate.wait_for_pod(60).labels["job-name"])
        gate.release()
        taken = _next_name(scenario, StageKind.LABEL, 1)
        stalled = scenario.wait(lambda status: _ready(status).get("reason") == "NameConflict", 120)
        assert taken in stalled["message"]
        assert stalled["phase"] == "Waiting"
        uid = scenario.job(taken)["metadata"]["uid"]
        time.sleep(2)
        assert scenario.job(taken)["metadata"]["uid"] == uid
        scenario.delete_job(taken)
        run_to_end(scenario, apply=False, seconds=300, alone=False)

    return fault


def foreign_pods(*, owned: bool) -> Fault:
    """Pods with our labels and garbage in their statuses; ``owned``: with our Job as their controller, so that they are looked at."""

    def fault(scenario: Scenario) -> None:
        def meddle(job: str) -> None:
            ours = scenario.job(job)
            (real,) = scenario.pods(job)
            assert ours is not None
            for number, garbage in enumerate(_GARBAGE):
                labels = {
                    name: text for name, text in real["metadata"]["labels"].items() if "job-name" not in name and "controller" not in name
                }
                metadata = {"name": f"garbage-{number}", "labels": labels}
                if owned:
                    metadata["ownerReferences"] = [
                        {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": ours["metadata"]["uid"], "controller": True}
                    ]
                    scenario.api.create(scenario.collection("pods"), {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": POD})
                with contextlib.suppress(ApiError):  # what the API server refuses cannot reach us
                    scenario.api.patch(f"{scenario.collection('pods')}/garbage-{number}/status", {"status": garbage})
            time.sleep(1)

        run_to_end(scenario, on_stage={"label": meddle}, seconds=300, charged=range(2))

    return fault


def _terminated(**state: object) -> Object:
    status = {"name": "stage", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Failed", "containerStatuses": [{**status, "state": {"terminated": {"exitCode": 1, **state}}}]}


_GARBAGE: tuple[Object, ...] = (
    {"phase": "Failed", "containerStatuses": []},
    {
        "phase": "Running",
        "podIP": "127.0.0.1",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "", "message": "\u0000" * 3}],
    },
    _terminated(message="}{" * 2000, reason="OOMKilled", startedAt="1970-01-01T00:00:00Z", finishedAt="2300-01-01T00:00:00Z"),
    _terminated(message='{"outcome": "done", "manifest": null}', exitCode=-(2**31)),
    _terminated(message='{"outcome": "' + "😀" * 1000),
)


def _next_name(scenario: Scenario, stage: StageKind, iteration: int) -> str:
    return job_name(read_run(scenario.run()), StageKey(iteration, stage), 1)


def _copy(scenario: Scenario, job: Object, name: str) -> Object:
    """A Job of nobody with all labels of ``job``. Its pods are not played: no node takes them."""
    labels = dict(job["spec"]["template"]["metadata"]["labels"])
    own = {key: value for key, value in labels.items() if "job-name" not in key and "controller" not in key}
    spec = {"backoffLimit": 0, "template": {"metadata": {"labels": own}, "spec": POD}}
    metadata = {"name": name, "namespace": scenario.namespace, "labels": {**own, "app.kubernetes.io/managed-by": "ser-operator"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _real_stranger(scenario: Scenario) -> Object:
    made = scenario.api.create(
        scenario.collection("configmaps"), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stranger"}}
    )
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": "stranger", "uid": made["metadata"]["uid"], "controller": True}


def _ready(status: Object) -> Object:
    return next((one for one in status.get("conditions", ()) if one["type"] == "Ready"), {})


def plans() -> Iterator[Plan]:
    """Each variant in the middle of a run."""
    yield Plan("strangers", "Jobs with our labels", foreign_jobs)
    yield Plan("strangers", "a suspended Job has our next name", taken_name(suspended=True))
    yield Plan("strangers", "a pending Job has our next name", taken_name(suspended=False))
    yield Plan("strangers", "pods with our labels and garbage", foreign_pods(owned=False))
    yield Plan("strangers", "pods of our Job and garbage", foreign_pods(owned=True))
