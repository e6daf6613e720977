"""GPU time and admitted time of a run whose pods the cluster takes away and replaces."""

from datetime import timedelta

import pytest

GPU = {"resources": {"prepare": {"cpu": "1"}, "retrain": {"gpus": 2}}, "queueName": "gpu", "activeDeadline": "1h"}


def wait(operator, seconds):
    operator.cluster.now += timedelta(seconds=seconds)


def look(operator):
    operator.sync()
    operator.reconcile()
    operator.sync()


def clock(operator):
    return f"{operator.cluster.now:%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def training(operator):
    """A run whose seed model waits in the queue; `prepare` took no time."""
    operator.cluster.apply(spec=GPU)
    look(operator)
    operator.finish_stage(operator.cluster.live_jobs()[0])
    look(operator)
    return operator


def live(operator):
    (job,) = operator.cluster.live_jobs()
    return job


def runs(operator, name):
    """The live Job is admitted, and a pod of it begins to run."""
    live(operator)["spec"]["suspend"] = False
    operator.cluster.stamp(live(operator))
    pod = operator.cluster.add_pod(live(operator))
    operator.cluster.pods[name] = operator.cluster.pods.pop(pod["metadata"]["name"])
    pod["metadata"]["name"] = name
    pod["status"] = {"phase": "Running", "containerStatuses": [{"state": {"running": {"startedAt": clock(operator)}}}]}
    operator.cluster.stamp(pod)


def is_taken_away(operator, name):
    """The pod is deleted, and the watch has seen it end."""
    pod = operator.cluster.pods.pop(name)
    began = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    ended = {"exitCode": 143, "startedAt": began, "finishedAt": clock(operator)}
    pod["status"] = {"phase": "Failed", "containerStatuses": [{"state": {"terminated": ended}}]}
    operator.cluster.stamp(pod)
    operator.cache.put("Pod", pod)
    operator.cache.remove("Pod", pod)


def gpu_seconds(operator):
    return round(operator.status.gpu_hours * 3600)


@pytest.mark.parametrize("looks", [True, False])
def test_a_pod_that_was_replaced_counts_whether_or_not_a_reconcile_came_between(training, looks):
    runs(training, "first")
    wait(training, 100)
    is_taken_away(training, "first")
    if looks:
        look(training)
    wait(training, 5000)  # in the queue
    runs(training, "second")
    look(training)
    wait(training, 50)
    is_taken_away(training, "second")
    training.finish_stage(live(training))
    look(training)

    assert (gpu_seconds(training), training.status.admitted_seconds) == (2 * 150, 150)


def test_an_operator_that_starts_anew_knows_what_the_pods_that_are_gone_have_taken(training):
    runs(training, "first")
    wait(training, 100)
    is_taken_away(training, "first")
    look(training)
    assert training.status.counted.admitted_seconds == 100
    training.start_operator()
    wait(training, 5000)
    training.finish_stage(live(training))
    look(training)

    assert (gpu_seconds(training), training.status.admitted_seconds, training.status.counted) == (200, 100, None)


def test_a_run_in_a_closed_queue_never_reaches_its_deadline(training):
    wait(training, 36000)
    look(training)

    assert training.status.phase == "Queued"
    assert (training.status.admitted_seconds, training.status.gpu_hours) == (0, 0)


def test_while_a_pod_runs_the_status_is_written_every_ten_minutes_at_most(training):
    runs(training, "first")
    look(training)
    before = training.cluster.writes.count("status")
    for _ in range(60):
        wait(training, 30)
        look(training)

    assert training.cluster.writes.count("status") - before == 3


def test_each_pod_of_a_gang_counts_for_itself(operator):
    operator.cluster.apply(spec={"resources": {"retrain": {"nodes": 2, "gpus": 4}}})
    look(operator)
    operator.finish_stage(live(operator))
    look(operator)
    runs(operator, "zero")
    wait(operator, 30)
    runs(operator, "one")
    wait(operator, 30)
    look(operator)
    is_taken_away(operator, "zero")
    wait(operator, 10)
    is_taken_away(operator, "one")
    operator.finish_stage(live(operator))
    look(operator)

    assert (gpu_seconds(operator), operator.status.admitted_seconds) == (4 * 60 + 4 * 40, 70)


@pytest.mark.parametrize("wrong", [-3600, 3600], ids=["behind", "ahead"])
def test_a_node_whose_clock_is_wrong_charges_the_time_for_which_its_pod_runs(training, wrong):
    wait(training, wrong)
    moment = clock(training)
    wait(training, -wrong)
    runs(training, "first")
    training.cluster.pods["first"]["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = moment
    look(training)
    wait(training, 600)
    look(training)
    assert training.status.counted.admitted_seconds == 600
    pod = training.cluster.pods["first"]
    wait(training, wrong)
    training.cluster.end(live(training), 143)
    training.cluster.pods.popitem()
    began, ended = moment, clock(training)
    wait(training, -wrong)
    pod["status"] = {
        "phase": "Failed",
        "containerStatuses": [{"state": {"terminated": {"exitCode": 143, "startedAt": began, "finishedAt": ended}}}],
    }
    training.cluster.stamp(pod)
    look(training)

    assert (gpu_seconds(training), training.status.admitted_seconds) == (2 * 600, 600)
