"""How often Kueue is asked why a Job waits: once a minute, and hardly ever where there is no Kueue."""

from datetime import timedelta

import pytest

from ser_core.api.status import Phase
from ser_operator.cluster.transport import ApiError
from ser_operator.facts.pods.queueing import NOT_ADMITTED, NOT_INSTALLED, NOT_SEEN

LATER = timedelta(seconds=31)


@pytest.fixture
def queued_run(operator):
    """A run whose first Job waits in a queue, a while after it was made."""
    operator.cluster.apply(spec={"queueName": "gpu"})
    operator.sync()
    operator.reconcile()
    look_after(operator, LATER)
    return operator


def look_after(operator, pause):
    operator.cluster.now += pause
    operator.sync()
    operator.reconcile()


def suspend(operator, state):
    (job,) = operator.cluster.jobs.values()
    job["spec"]["suspend"] = state
    operator.cluster.stamp(job)


def told_by_kueue(operator, message, reason="Pending"):
    condition = {"type": "QuotaReserved", "status": "False", "reason": reason, "message": message}
    (job,) = operator.cluster.jobs.values()
    metadata = {"name": "w", "labels": {"kueue.x-k8s.io/job-uid": job["metadata"]["uid"]}}
    operator.cluster.workloads = [{"metadata": metadata, "spec": {"queueName": "gpu"}, "status": {"conditions": [condition]}}]


def test_a_queued_run_says_what_kueue_says_and_asks_once_a_minute(operator):
    operator.cluster.apply(spec={"queueName": "gpu"})
    operator.sync()
    operator.reconcile()
    told_by_kueue(operator, "LocalQueue gpu doesn't exist", "Inadmissible")

    look_after(operator, LATER)
    look_after(operator, LATER)

    assert operator.status.message == "prepare, attempt 1 waits: LocalQueue gpu doesn't exist"
    assert operator.condition("Stalled").reason == "QueueUnusable"
    assert operator.cluster.asked_for_workloads == 1
    told_by_kueue(operator, "1 more needed")
    look_after(operator, LATER)
    assert operator.status.message == f"prepare, attempt 1 waits: {NOT_ADMITTED}: 1 more needed"
    assert operator.cluster.asked_for_workloads == 2


def test_a_clock_that_is_set_back_does_not_keep_the_queue_from_being_asked(operator):
    operator.cluster.apply(spec={"queueName": "gpu"})
    operator.sync()
    operator.reconcile()
    told_by_kueue(operator, "1 more needed")
    look_after(operator, 5 * LATER)

    look_after(operator, -2 * LATER)

    assert operator.cluster.asked_for_workloads == 2


def test_a_job_that_is_taken_back_asks_at_once(queued_run):
    suspend(queued_run, False)
    look_after(queued_run, timedelta(seconds=1))
    suspend(queued_run, True)
    told_by_kueue(queued_run, "Preempted to accommodate a workload")

    look_after(queued_run, timedelta(seconds=1))

    assert queued_run.status.message.endswith("Preempted to accommodate a workload")


def test_the_pod_of_a_job_that_was_taken_back_long_ago_is_not_waited_for(queued_run):
    """It has ended and is gone; what is remembered of it bears the moment at which it was to be gone."""
    (job,) = queued_run.cluster.jobs.values()
    suspend(queued_run, False)
    pod = queued_run.cluster.add_pod(job)
    look_after(queued_run, timedelta(seconds=1))
    suspend(queued_run, True)
    moment = f"{queued_run.cluster.now:%Y-%m-%dT%H:%M:%SZ}"
    pod["metadata"]["deletionTimestamp"] = moment
    ended = {"exitCode": 143, "startedAt": moment, "finishedAt": moment}
    pod["status"] = {"phase": "Failed", "containerStatuses": [{"name": "stage", "state": {"terminated": ended}}]}
    queued_run.cluster.stamp(pod)
    look_after(queued_run, timedelta(seconds=1))
    queued_run.cluster.pods.clear()
    told_by_kueue(queued_run, "1 more needed")

    look_after(queued_run, timedelta(minutes=10))

    assert queued_run.condition("Ready").reason == "Queued"
    assert queued_run.status.message.endswith("1 more needed")


def test_a_job_that_is_admitted_again_and_cannot_make_its_pod_says_why(queued_run):
    """The pod that has failed is the one before, and its Events say nothing of the next one."""
    (job,) = queued_run.cluster.jobs.values()
    suspend(queued_run, False)
    queued_run.cluster.end(job, 143)
    job["status"] = {}
    look_after(queued_run, timedelta(seconds=1))
    queued_run.cluster.pods.clear()
    told = {"involvedObject": {"uid": job["metadata"]["uid"]}, "type": "Warning", "reason": "FailedCreate", "message": "exceeded quota: q"}
    queued_run.cluster.events["e"] = told
    assert queued_run.status.phase is Phase.RUNNING

    look_after(queued_run, LATER)

    assert queued_run.status.message == "prepare, attempt 1 waits: exceeded quota: q"
    assert queued_run.drive().status.phase is Phase.COMPLETED


def test_a_cluster_without_kueue_is_asked_every_ten_minutes(operator):
    operator.cluster.workloads = ApiError(404, "the server could not find the requested resource")
    operator.cluster.apply(spec={"queueName": "gpu"})
    operator.sync()
    operator.reconcile()

    for _ in range(9):
        look_after(operator, timedelta(seconds=61))

    assert operator.status.message == f"prepare, attempt 1 waits: {NOT_INSTALLED.message}"
    assert operator.cluster.asked_for_workloads == 1
    operator.cluster.workloads = []
    for _ in range(3):
        look_after(operator, timedelta(seconds=61))
    assert operator.status.message == f"prepare, attempt 1 waits: {NOT_SEEN.message}"


def test_without_kueue_a_job_that_somebody_suspends_names_itself_and_goes_on_once_it_is_let_go(operator):
    operator.cluster.workloads = ApiError(404, "the server could not find the requested resource")
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    suspend(operator, True)
    look_after(operator, LATER)
    assert (operator.status.phase, operator.condition("Stalled").reason) == (Phase.WAITING, "JobSuspended")
    assert f"Job {next(iter(operator.cluster.jobs))} is suspended, and no queue has done it" in operator.status.message
    suspend(operator, False)
    assert operator.drive().status.phase is Phase.COMPLETED


@pytest.mark.parametrize("code", [0, 403, 500])
def test_a_refusal_is_borne(operator, code):
    operator.cluster.workloads = ApiError(code, "no")
    operator.cluster.apply(spec={"queueName": "gpu"})
    operator.sync()
    operator.reconcile()

    look_after(operator, LATER)

    assert operator.status.message == f"prepare, attempt 1 waits: {NOT_ADMITTED}"
