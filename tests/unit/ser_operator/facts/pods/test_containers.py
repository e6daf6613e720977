"""The stage is found by its container's name, whatever others put beside it."""

import copy

import pytest

from ser_operator.facts.pods.attempts_from_pods import attempts
from ser_operator.facts.reading import held_by, started_at, terminated
from ser_operator.facts.serruns.read_run import read_run

from ...conftest import START

MESH = {"name": "aaa-proxy", "state": {"running": {"startedAt": "2026-01-31T11:00:00Z"}}}
"""A container that a mesh adds. The kubelet sorts by name, so it comes before the stage."""


def pod(*statuses, **metadata):
    return {"metadata": {"name": "p", **metadata}, "status": {"phase": "Running", "containerStatuses": list(statuses)}}


def ended(code=0, message=""):
    return {"name": "stage", "state": {"terminated": {"exitCode": code, "message": message, "startedAt": "2026-01-31T12:00:00Z"}}}


@pytest.mark.parametrize("statuses", [(MESH, ended(3)), (ended(3), MESH), (ended(3),)])
def test_the_end_of_the_stage_is_read_wherever_it_stands(statuses):
    assert terminated(pod(*statuses))["exitCode"] == 3
    assert f"{started_at(pod(*statuses)):%H:%M}" == "12:00"


@pytest.mark.parametrize("statuses", [None, "x", [], [7], [MESH], [{"name": "stage", "state": None}]])
def test_without_the_stage_nothing_is_read(statuses):
    assert terminated({"status": {"containerStatuses": statuses}}) == {}


def test_a_container_that_still_runs_holds_a_pod_whose_stage_has_ended():
    over = {"name": "aaa-proxy", "state": {"terminated": {"exitCode": 0}}}

    assert held_by(pod(MESH, ended())) == "aaa-proxy"
    assert held_by(pod(over, ended())) == ""
    assert held_by(pod(MESH, {"name": "stage", "state": {"running": {}}})) == "", "it holds nothing back yet"
    assert held_by(pod(MESH, ended(), deletionTimestamp="2026-01-31T12:00:00Z")) == "", "it goes by itself"


def beside_a_mesh(operator, job):
    """The stage has done its work; the Job is not told, since the pod goes on."""
    operator.finish_stage(job)
    del job["status"]
    (held,) = operator.cluster.pods.values()
    held["status"]["containerStatuses"][0]["name"] = "stage"
    held["status"] |= {"phase": "Running", "containerStatuses": [copy.deepcopy(MESH), *held["status"]["containerStatuses"]]}
    operator.cluster.stamp(held)
    operator.sync()


def test_an_attempt_has_ended_though_another_container_goes_on(operator, job):
    beside_a_mesh(operator, job)
    (attempt,) = attempts(read_run(operator.cluster.runs["lab", "climb"]), [job], list(operator.cluster.pods.values()), START)

    assert (attempt.state, attempt.exit_code, attempt.result.outcome) == ("succeeded", 0, "done")


def test_the_run_goes_on_and_the_job_that_is_held_is_deleted(operator, job):
    beside_a_mesh(operator, job)
    operator.reconcile()

    assert [row.outcome for row in operator.status.stages] == ["Done", "Running"]
    assert job["metadata"].get("deletionTimestamp"), "its pod would hold its devices for ever"


def test_a_failed_attempt_that_is_held_is_tried_again(operator, job):
    operator.cluster.end(job, 1)
    del job["status"]
    (held,) = operator.cluster.pods.values()
    held["status"]["containerStatuses"].append(copy.deepcopy(MESH))
    operator.cluster.stamp(held)
    operator.sync()
    operator.reconcile()

    assert (operator.status.stages[0].outcome, operator.status.stages[0].charged) == ("Failed", True)
    assert job["metadata"].get("deletionTimestamp")
