"""A waiting attempt of which no container has started follows what the user and the administrator change; any other is left alone."""

import copy

import pytest

from ser_core.api.status import Phase
from ser_operator.objects import labels
from ser_operator.settings import Settings

INDEX = "batch.kubernetes.io/job-completion-index"
WAITS = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
RUNS = {"running": {"startedAt": "2026-01-31T12:00:05Z"}}


def waiting(operator, stage="prepare", **spec):
    """The Job of a stage whose pod waits."""
    operator.cluster.apply(spec=spec)
    for _ in range(20):
        operator.sync()
        operator.reconcile()
        operator.sync()
        operator.reconcile()
        (job,) = operator.cluster.live_jobs()
        if operator.cluster.stage(job).stage == stage:
            operator.cluster.add_pod(job, containerStatuses=[{"name": "stage", "state": WAITS}])
            operator.sync()
            operator.reconcile()
            return job
        operator.finish_stage(job)
    raise AssertionError(f"{stage} never began")


def change(operator, **spec):
    run = operator.cluster.runs["lab", "climb"]
    run["spec"] |= spec
    run["metadata"]["generation"] += 1
    operator.cluster.stamp(run)


def look(operator):
    operator.sync()
    operator.reconcile()


def deleted(operator, job):
    return "deletionTimestamp" in operator.cluster.jobs[job["metadata"]["name"]]["metadata"]


def offer(operator, **settings):
    """The administrator changes the operator, which starts anew."""
    operator.settings = Settings(**{"image": "registry.example/ser:1", **settings})
    operator.start_operator()


def rows(operator, stage="prepare"):
    return [row for row in operator.status.stages if row.stage == stage]


@pytest.mark.parametrize(
    "less",
    [
        {"resources": {"retrain": {"gpus": 1}}},
        {"resources": {"retrain": {"gpus": 16, "tolerations": [{"key": "gpu", "operator": "Exists"}]}}},
        {"resources": {"retrain": {"gpus": 16, "nodeSelector": {"pool": "a"}}}},
        {"resources": {"retrain": {"gpus": 16, "memory": "1Gi"}}},
        {"training": {"tokensPerBatch": 512}},
    ],
    ids=str,
)
def test_a_waiting_job_is_made_anew_when_it_is_to_ask_for_something_else(operator, less):
    job = waiting(operator, "retrain", resources={"retrain": {"gpus": 16}})
    change(operator, **less)
    look(operator)
    assert deleted(operator, job)
    assert rows(operator, "retrain")[-1].reason == "ChangedBeforeStart"
    operator.cluster.vanish(job["metadata"]["name"])
    look(operator)
    (new,) = operator.cluster.live_jobs()
    asked = new["spec"]["template"]["spec"]["containers"][0]["resources"].get("limits", {}).get("nvidia.com/gpu")
    assert asked == str(less.get("resources", {}).get("retrain", {}).get("gpus", 16))

    assert operator.drive().status.phase is Phase.COMPLETED
    assert operator.status.gpu_hours < 0.01
    assert not any(row.charged for row in rows(operator, "retrain"))


def test_a_job_in_a_queue_is_made_anew_too(operator):
    operator.cluster.apply(spec={"queueName": "gpus", "resources": {"prepare": {"cpu": "64"}}})
    look(operator)
    (job,) = operator.cluster.live_jobs()
    change(operator, resources={"prepare": {"cpu": "1"}})
    look(operator)
    assert deleted(operator, job)


def queued(operator, **spec):
    operator.cluster.apply(spec=spec)
    look(operator)
    (job,) = operator.cluster.live_jobs()
    return job


@pytest.mark.parametrize("by", ["this operator", "an earlier operator"])
@pytest.mark.parametrize(("wanted", "is_anew"), [("new", True), ("old", False)])
def test_a_change_of_the_queue_that_was_over_before_the_operator_looked_is_followed(operator, by, wanted, is_anew):
    job = queued(operator, queueName="old")
    if by == "an earlier operator":
        del operator.cluster.jobs[job["metadata"]["name"]]["metadata"]["annotations"][labels.ASKED_QUEUE]
    change(operator, suspend=True, queueName=wanted)
    change(operator, suspend=False)
    operator.start_operator()
    look(operator)
    assert deleted(operator, job) is is_anew
    if is_anew:
        operator.cluster.vanish(job["metadata"]["name"])
        look(operator)
        assert [one["metadata"]["labels"][labels.QUEUE] for one in operator.cluster.live_jobs()] == ["new"]


def test_a_job_leaves_a_queue_that_its_run_no_longer_names(operator):
    job = queued(operator, queueName="old")
    del operator.cluster.runs["lab", "climb"]["spec"]["queueName"]
    change(operator)
    look(operator)
    assert deleted(operator, job)


@pytest.mark.parametrize(("named", "label"), [({}, "default"), ({"queueName": "team"}, "of a policy")])
def test_a_queue_that_somebody_else_gave_to_a_job_is_left(operator, named, label):
    job = queued(operator, **named)
    held = operator.cluster.jobs[job["metadata"]["name"]]
    held["spec"]["suspend"] = True
    held["metadata"]["labels"][labels.QUEUE] = label
    operator.cluster.stamp(held)
    look(operator)
    assert not deleted(operator, job)


def test_a_job_that_its_queue_has_started_is_left_in_it(operator):
    job = queued(operator, queueName="old")
    operator.cluster.jobs[job["metadata"]["name"]]["spec"]["suspend"] = False
    operator.cluster.stamp(operator.cluster.jobs[job["metadata"]["name"]])
    change(operator, queueName="new")
    look(operator)
    assert not deleted(operator, job)


def test_until_the_first_commit_the_image_is_the_one_that_the_operator_offers(operator):
    job = waiting(operator)
    offer(operator, image="registry.example/ser:2")
    look(operator)
    assert deleted(operator, job)
    operator.drive()
    assert (operator.status.phase, operator.status.image) == (Phase.COMPLETED, "registry.example/ser:2")


def test_from_the_first_commit_on_the_image_stays(operator):
    job = waiting(operator, "retrain")
    offer(operator, image="registry.example/ser:2")
    look(operator)
    assert not deleted(operator, job)
    operator.drive()
    assert operator.status.image == "registry.example/ser:1"


def test_an_attempt_that_failed_before_the_first_commit_is_followed_by_one_with_the_image_that_is_offered_then(operator):
    job = waiting(operator)
    operator.cluster.end(job, 1)
    offer(operator, image="registry.example/ser:2")
    operator.drive()
    assert operator.status.image == "registry.example/ser:2"


def test_a_pull_secret_that_is_corrected_reaches_a_waiting_job(operator):
    job = waiting(operator, "retrain")
    offer(operator, image_pull_secrets=("registry",))
    look(operator)
    assert deleted(operator, job)


@pytest.mark.parametrize("state", [RUNS, {"terminated": {"exitCode": 0, "startedAt": "2026-01-31T12:00:05Z"}}], ids=["runs", "ended"])
def test_a_job_of_which_a_container_has_started_is_left_alone(operator, state):
    job = waiting(operator)
    pod = operator.cluster.pods[f"{job['metadata']['name']}-abcde"]
    pod["status"]["containerStatuses"] = [{"name": "stage", "state": state}]
    operator.cluster.stamp(pod)
    change(operator, resources={"prepare": {"cpu": "1"}})
    look(operator)
    assert not deleted(operator, job)


@pytest.mark.parametrize(("second", "is_anew"), [(WAITS, True), (RUNS, False)])
def test_a_gang_of_which_a_part_has_no_room_is_made_anew(operator, second, is_anew):
    """The pods that have started wait for the others, and compute nothing."""
    job = waiting(operator, "retrain", resources={"retrain": {"nodes": 2, "gpus": 5}})
    pods = operator.cluster.pods
    (first,) = (pod for pod in pods.values() if pod["metadata"]["name"].startswith(job["metadata"]["name"]))
    for index, state in enumerate((RUNS, second)):
        pod = copy.deepcopy(first)
        pod["metadata"] |= {"name": f"{job['metadata']['name']}-{index}-abcde", "annotations": {INDEX: str(index)}}
        pod["metadata"].pop("uid")
        pod["status"] = {"phase": "Running", "containerStatuses": [{"name": "stage", "state": state}]}
        pods[pod["metadata"]["name"]] = operator.cluster.stamp(pod)
    del pods[first["metadata"]["name"]]

    change(operator, resources={"retrain": {"nodes": 2, "gpus": 2}})
    look(operator)

    assert deleted(operator, job) is is_anew


def test_a_job_of_an_operator_that_wrote_nothing_down_is_left_alone(operator):
    job = waiting(operator)
    del operator.cluster.jobs[job["metadata"]["name"]]["metadata"]["annotations"][labels.ASKED_FOR]
    change(operator, resources={"prepare": {"cpu": "1"}})
    look(operator)
    assert not deleted(operator, job)


def test_what_asks_for_the_same_is_left_alone(operator):
    job = waiting(operator)
    change(operator, resources={"label": {"gpus": 1}}, budget={"gpuHours": 3}, ttlAfterFinished="1h")
    look(operator)
    assert not deleted(operator, job)


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 12))
def test_a_crash_while_a_job_is_made_anew_changes_nothing(operator, number, side):
    waiting(operator, "retrain", resources={"retrain": {"gpus": 16}})
    change(operator, resources={"retrain": {"gpus": 1}})

    operator.drive_through_a_crash(len(operator.cluster.writes) + number - 1, side)

    assert operator.status.phase is Phase.COMPLETED
    assert len(operator.executed) == 5
    assert not any(row.charged for row in operator.status.stages)
