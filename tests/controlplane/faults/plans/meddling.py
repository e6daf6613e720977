"""Labels, annotations and owners of running Jobs and pods are changed or taken away."""

import time
from collections.abc import Iterator, Mapping

from controlplane.faults.plans.plan import Fault, Plan, eventually, run_to_end
from controlplane.faults.scenario import Scenario
from controlplane.plane.api_client import Object

HUGE = {"example.com/huge": "x" * (200 * 1024)}
LABELS = ("ser.dev/run", "ser.dev/run-uid", "ser.dev/iteration", "ser.dev/stage", "ser.dev/attempt", "ser.dev/mode")
MANAGED = "app.kubernetes.io/managed-by"
NOBODY = {"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "00000000-0000-4000-8000-000000000000", "controller": True}
"""An owner that does not exist."""


def changed_job(change: Mapping[str, object]) -> Fault:
    """The metadata of a running Job is changed in a way that leaves it ours: nothing is charged, no second Job is made."""

    def fault(scenario: Scenario) -> None:
        def meddle(job: str) -> None:
            scenario.api.patch(f"{scenario.collection('jobs', 'apis/batch/v1')}/{job}", {"metadata": dict(change)})
            time.sleep(1)

        run_to_end(scenario, on_stage={"label": meddle}, seconds=300)
        assert len(scenario.jobs()) == 5

    return fault


def disowned_job(references: list[Object], *, stays: bool) -> Fault:
    """A running Job is taken away from its run: the run does not touch it, and its stage is tried again and committed once.

    ``stays``: nobody else deletes it, as the garbage collector does when its new owner does not exist.
    """

    def fault(scenario: Scenario) -> None:
        taken: list[str] = []

        def meddle(job: str) -> None:
            taken.append(scenario.job(job)["metadata"]["uid"])
            scenario.api.patch(f"{scenario.collection('jobs', 'apis/batch/v1')}/{job}", {"metadata": {"ownerReferences": references}})
            eventually(lambda: any(_attempt(other) == ("label", "2") for other in scenario.jobs()), 120, "another attempt")

        run_to_end(scenario, on_stage={"label": meddle}, seconds=300, charged=range(2), alone=False)
        assert (taken[0] in {job["metadata"]["uid"] for job in scenario.jobs()}) is stays

    return fault


def _attempt(job: Object) -> tuple[str, str]:
    labels = job["spec"]["template"]["metadata"]["labels"]
    return labels["ser.dev/stage"], labels["ser.dev/attempt"]


def changed_pod(labels: Mapping[str, object]) -> Fault:
    """The labels of a running pod are changed: its result may be lost to us, and is then reported by another Job."""

    def fault(scenario: Scenario) -> None:
        def meddle(job: str) -> None:
            for pod in scenario.pods(job):
                scenario.api.patch(f"{scenario.collection('pods')}/{pod['metadata']['name']}", {"metadata": {"labels": dict(labels)}})
            time.sleep(1)

        run_to_end(scenario, on_stage={"label": meddle}, seconds=300)

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


def plans() -> Iterator[Plan]:
    """Each variant in the middle of a run."""
    garbled = dict.fromkeys(LABELS, "garbled")
    yield Plan("meddling", "Job: all labels stripped", changed_job({"labels": None}))
    yield Plan("meddling", "Job: managed-by stripped", changed_job({"labels": {MANAGED: None}}))
    yield Plan("meddling", "Job: run-uid stripped", changed_job({"labels": {"ser.dev/run-uid": None}}))
    yield Plan("meddling", "Job: our labels garbled", changed_job({"labels": garbled}))
    yield Plan("meddling", "Job: annotations stripped", changed_job({"annotations": None}))
    yield Plan("meddling", "Job: owners stripped", disowned_job([], stays=True))
    yield Plan("meddling", "Job: owned by what does not exist", disowned_job([NOBODY], stays=False))
    yield Plan("meddling", "pod: all labels but the Job's stripped", changed_pod({**dict.fromkeys(LABELS), MANAGED: None}))
    yield Plan("meddling", "pod: our labels garbled", changed_pod(garbled))
    yield Plan("meddling", "200 KiB of annotations", huge_annotations)
