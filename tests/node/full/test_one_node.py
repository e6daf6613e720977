"""What befalls the node that a training runs on. One run goes through it all, and pays for nothing."""

import time

import pytest

from node import inputs
from node.release import LAB, OPERATOR
from node.run import Expected

SILENT_SECONDS = 90
"""How long the kubelet stays frozen after the run has told of it, which is after 20 s of silence."""


class Story:
    """What was seen on the way; see `story`."""


@pytest.fixture(scope="module")
def story(cluster, start):
    told = Story()
    run = told.run = start("node", **inputs.LONG)
    (pod,) = run.at_work("retrain", steps=3)
    freeze(told, cluster, run)
    kill_the_runtime(told, cluster, run, pod)
    press(told, cluster, run, pod)
    yield told
    run.delete()


def freeze(told, cluster, run):
    """The kubelet stands still for minutes, and goes on."""
    cluster.kubelet.freeze()
    try:
        run.until(lambda: "has not answered" in run.status()["message"])
        time.sleep(SILENT_SECONDS)
        told.silent, told.why, told.shown, told.metrics = run.status(), run.why(), run.ser("status"), metrics(cluster)
    finally:
        cluster.kubelet.thaw()
    cluster.kubelet.wait_until("True")
    run.until(lambda: "has not answered" not in run.status()["message"])
    told.heard = run.status()


def metrics(cluster):
    """The operator's page, by way of the API server."""
    pods = f"/api/v1/namespaces/{LAB}/pods"
    (operator,) = cluster.plane.api().items(pods, labelSelector=OPERATOR)
    return cluster.plane.kubectl("get", "--raw", f"{pods}/{operator['metadata']['name']}:8080/proxy/metrics").stdout


def kill_the_runtime(told, cluster, run, pod):
    """containerd is killed, and started again."""
    told.steps_before = steps(run, pod)
    cluster.kubelet.runtime.part.end()
    time.sleep(5)
    cluster.kubelet.runtime.start()
    cluster.kubelet.wait_until("True")
    run.until(lambda: steps(run, pod) > told.steps_before)
    told.after_runtime = run.pods(**{"ser.dev/stage": "retrain"})


def steps(run, pod):
    return len(run.events(pod, "progress"))


def press(told, cluster, run, pod):
    """The node wants nearly all its memory back, and then not any more."""
    cluster.kubelet.part.end()
    cluster.kubelet.begin({"memory.available": "97%"})
    told.evicted = run.until(lambda: ended(run, pod))
    cluster.kubelet.part.end()
    cluster.kubelet.begin()
    (second,) = run.at_work("retrain", 2, steps=3)
    told.resumed, told.rows = run.events(second, "resumed"), run.rows("retrain")


def ended(run, pod):
    """A pod that has ended; None before. The kubelet may call it Failed before it tells how its container has ended."""
    found = [one for one in run.pods() if one["metadata"]["uid"] == pod["metadata"]["uid"] and one["status"]["phase"] == "Failed"]
    return next((one for one in found if "terminated" in one["status"]["containerStatuses"][0]["state"]), None)


def test_a_silent_node_is_told_by_status_why_and_a_metric(story):
    """Expected: the stage may be at work, so the attempt lives; Stalled, since somebody must look; nothing is charged."""
    assert "node ser-node has not answered since" in story.silent["message"]
    assert story.why["cause"] == "the node of a stage's pod does not answer; the stage may still be at work"
    assert "ser-node" in story.shown
    assert 'ser_run_condition{namespace="lab",run="node",condition="Stalled"} 1.0' in story.metrics


def test_when_the_node_answers_again_the_attempt_goes_on(story):
    """Expected: the same attempt, at work as if nothing had been."""
    (row,) = [one for one in story.heard["stages"] if one["stage"] == "retrain"]
    assert (row["attempt"], row["outcome"]) == (1, "Running")


def test_a_killed_runtime_does_not_touch_the_stage(story):
    """Expected: the same pod, further on; its container never restarted."""
    (pod,) = story.after_runtime
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_node_under_pressure_evicts_the_stage_at_no_charge(story):
    """Expected: DisruptionTarget TerminationByKubelet, exit 137 at once; the next attempt goes on from the newest checkpoint."""
    conditions = [one["reason"] for one in story.evicted["status"]["conditions"] if one["type"] == "DisruptionTarget"]
    (state,) = [one["state"]["terminated"] for one in story.evicted["status"]["containerStatuses"]]
    first, second = story.rows

    assert conditions == ["TerminationByKubelet"]
    assert state["exitCode"] == 137
    assert Expected.of(first) == Expected("Interrupted", "Interrupted", 137, charged=False)
    assert second["outcome"] == "Running"
    assert [event["step"] > 0 for event in story.resumed] == [True]
