"""People and other controllers meddle with what carries our names: labels, annotations, owners, Jobs and pods that are not ours."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from controlplane.api_client import ApiError, Object
from controlplane.plans.plan import Fault, Plan, eventually, run_to_end
from controlplane.scenario import Scenario
from ser_core.api.serrun import SERRun
from ser_core.api.status import StageKind
from ser_core.loop.stages import StageKey, job_name
from ser_operator.read_run import read_run

HUGE = {"example.com/huge": "x" * (200 * 1024)}
LABELS = ("ser.dev/run", "ser.dev/run-uid", "ser.dev/iteration", "ser.dev/stage", "ser.dev/attempt", "ser.dev/mode")
MANAGED = "app.kubernetes.io/managed-by"
STRANGER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "stranger", "uid": "00000000-0000-4000-8000-000000000000", "controller": True}


def changed_job(change: Mapping[str, object]) -> Fault:
    """The metadata of a running Job is changed in a way that leaves it ours: nothing is charged, no second Job is made."""

    def fault(scenario: Scenario) -> None:
        def meddle(job: str) -> None:
            scenario.api.patch(f"{scenario.collection('jobs', 'apis/batch/v1')}/{job}", {"metadata": dict(change)})
            time.sleep(1)

        run_to_end(scenario, on_stage={"label": meddle}, seconds=60)
        assert len(scenario.jobs()) == 5

    return fault


def disowned_job(references: list[Object]) -> Fault:
    """A running Job is taken away from its run: it is left alone, and its stage, which may have to run again, is committed once."""

    def fault(scenario: Scenario) -> None:
        taken: list[str] = []

        def meddle(job: str) -> None:
            taken.append(scenario.job(job)["metadata"]["uid"])  # type: ignore[index]  # it is held
            scenario.api.patch(f"{scenario.collection('jobs', 'apis/batch/v1')}/{job}", {"metadata": {"ownerReferences": references}})
            eventually(lambda: len(scenario.jobs()) == 4, 30, "its stage is looked for by another Job")

        run_to_end(scenario, on_stage={"label": meddle}, seconds=90, charged=range(2), alone=False)
        owned_by_nobody = not references or not references[0].get("controller") or "uid" not in references[0]
        left = [job["metadata"]["uid"] for job in scenario.jobs()]
        assert not owned_by_nobody or taken[0] in left, "a Job that is not the run's was deleted"

    return fault


def changed_pod(labels: Mapping[str, object]) -> Fault:
    """The labels of a running pod are changed: its result may be lost to us, and is then reported by another Job."""

    def fault(scenario: Scenario) -> None:
        def meddle(job: str) -> None:
            for pod in scenario.pods(job):
                scenario.api.patch(f"{scenario.collection('pods')}/{pod['metadata']['name']}", {"metadata": {"labels": dict(labels)}})
            time.sleep(1)

        run_to_end(scenario, on_stage={"label": meddle}, seconds=90)

    return fault


def huge_annotations(scenario: Scenario) -> None:
    """200 KiB of annotations on the run, the Job and the pod."""

    def meddle(job: str) -> None:
        scenario.patch({"metadata": {"annotations": HUGE}})
        paths = [f"{scenario.collection('jobs', 'apis/batch/v1')}/{job}"]
        paths += [f"{scenario.collection('pods')}/{pod['metadata']['name']}" for pod in scenario.pods(job)]
        for path in paths:
            scenario.api.patch(path, {"metadata": {"annotations": HUGE}})

    run_to_end(scenario, on_stage={"prepare": meddle, "filter": meddle})


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
        stalled = scenario.wait(lambda status: _ready(status).get("reason") == "NameConflict", 30)
        assert taken in stalled["message"]
        assert stalled["phase"] == "Running"
        uid = scenario.job(taken)["metadata"]["uid"]  # type: ignore[index]  # it exists
        time.sleep(2)
        assert scenario.job(taken)["metadata"]["uid"] == uid  # type: ignore[index]
        scenario.delete_job(taken)
        run_to_end(scenario, apply=False, seconds=90, alone=False)

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
                pod = {"restartPolicy": "Never", "schedulerName": "nobody", "containers": [{"name": "stage", "image": "x"}]}
                scenario.api.create(scenario.collection("pods"), {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
                with contextlib.suppress(ApiError):  # what the API server refuses cannot reach us
                    scenario.api.patch(f"{scenario.collection('pods')}/garbage-{number}/status", {"status": garbage})
            time.sleep(1)

        run_to_end(scenario, on_stage={"label": meddle}, seconds=120, charged=range(2))

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
    run: SERRun = read_run(scenario.run())
    return job_name(run, StageKey(iteration, stage), 1)


def _copy(scenario: Scenario, job: Object, name: str) -> Object:
    """A Job of nobody with all labels of ``job``. Its pods are not played: no node takes them."""
    labels = dict(job["spec"]["template"]["metadata"]["labels"])
    own = {key: value for key, value in labels.items() if "job-name" not in key and "controller" not in key}
    pod = {"restartPolicy": "Never", "schedulerName": "nobody", "containers": [{"name": "stage", "image": "x"}]}
    spec = {"backoffLimit": 0, "template": {"metadata": {"labels": own}, "spec": pod}}
    metadata = {"name": name, "namespace": scenario.namespace, "labels": {**own, MANAGED: "ser-operator"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _real_stranger(scenario: Scenario) -> Object:
    made = scenario.api.create(
        scenario.collection("configmaps"), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stranger"}}
    )
    return {**STRANGER, "uid": made["metadata"]["uid"]}


def _ready(status: Object) -> Object:
    return next((one for one in status.get("conditions", ()) if one["type"] == "Ready"), {})


def plans() -> Iterator[Plan]:
    """Each variant in the middle of a run."""
    garbled = dict.fromkeys(LABELS, "garbled")
    yield Plan("meddling", "Job: all labels stripped", changed_job({"labels": None}))
    yield Plan("meddling", "Job: managed-by stripped", changed_job({"labels": {MANAGED: None}}))
    yield Plan("meddling", "Job: run-uid stripped", changed_job({"labels": {"ser.dev/run-uid": None}}))
    yield Plan("meddling", "Job: our labels garbled", changed_job({"labels": garbled}))
    yield Plan("meddling", "Job: annotations stripped", changed_job({"annotations": None}))
    yield Plan("meddling", "Job: owners stripped", disowned_job([]))
    yield Plan("meddling", "Job: owned by what does not exist", disowned_job([STRANGER]))
    yield Plan("meddling", "pod: all labels but the Job's stripped", changed_pod({**dict.fromkeys(LABELS), MANAGED: None}))
    yield Plan("meddling", "pod: our labels garbled", changed_pod(garbled))
    yield Plan("meddling", "200 KiB of annotations", huge_annotations)
    yield Plan("strangers", "Jobs with our labels", foreign_jobs)
    yield Plan("strangers", "a suspended Job has our next name", taken_name(suspended=True))
    yield Plan("strangers", "a pending Job has our next name", taken_name(suspended=False))
    yield Plan("strangers", "pods with our labels and garbage", foreign_pods(owned=False))
    yield Plan("strangers", "pods of our Job and garbage", foreign_pods(owned=True))
