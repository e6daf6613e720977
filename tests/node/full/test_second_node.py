"""A second node, which is drained, and later does not answer any more: a training moves to the first one."""

import pytest

from node import inputs
from node.machine import addresses
from node.machine.cluster import NODE, SECOND
from node.run import Expected

SUBNET = "10.88.1.0/24"


class Story:
    """What was seen on the way; see `story`."""


@pytest.fixture(scope="module")
def second(cluster):
    """A node of its own containerd and kubelet, in the same network."""
    from node import images

    kubelet = cluster.add_node(SECOND, addresses.SECOND_NODE, SUBNET)
    for archive in images.given():
        kubelet.runtime.add(archive)
    return kubelet


@pytest.fixture(scope="module")
def story(cluster, second, start):
    told, kubectl = Story(), cluster.plane.kubectl
    kubectl("cordon", NODE)
    run = told.run = start("moved", **inputs.LONG)
    (pod,) = run.at_work("retrain", steps=3)
    told.first_node = pod["spec"]["nodeName"]
    kubectl("uncordon", NODE)
    kubectl("drain", SECOND, "--force", "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=300s", timeout=320)
    (moved,) = run.at_work("retrain", 2, steps=3)
    told.moved, told.resumed, told.after_drain = moved["spec"]["nodeName"], run.events(moved, "resumed"), run.rows("retrain")

    kubectl("uncordon", SECOND)
    kubectl("cordon", NODE)
    kubectl("delete", "pod", "--namespace", "lab", moved["metadata"]["name"], "--wait=false")
    run.ended("retrain", 2)
    (lost,) = run.at_work("retrain", 3, steps=3)
    kubectl("uncordon", NODE)
    kubectl("cordon", SECOND)
    second.freeze()
    told.leaving = run.until(lambda: leaving(run, lost))
    told.meanwhile = run.status()["message"]
    second.thaw()
    (back,) = run.at_work("retrain", 4, steps=3)
    told.back, told.after_silence = back["spec"]["nodeName"], run.rows("retrain")
    yield told
    run.delete()


def leaving(run, pod):
    """A pod that is being deleted; None before."""
    found = [one for one in run.pods() if one["metadata"]["uid"] == pod["metadata"]["uid"] and "deletionTimestamp" in one["metadata"]]
    return found[0] if found else None


def disruption(pod):
    return [one["reason"] for one in pod["status"]["conditions"] if one["type"] == "DisruptionTarget"]


def test_a_drained_node_gives_the_training_to_another(story):
    """Expected: SIGTERM, a checkpoint, exit 143, at no charge; the next attempt goes on from there on the other node."""
    first, second = story.after_drain
    assert (story.first_node, story.moved) == (SECOND, NODE)
    assert Expected.of(first) == Expected("Interrupted", "Interrupted", 143, charged=False)
    assert second["outcome"] == "Running"
    assert [event["step"] > 0 for event in story.resumed] == [True]


def test_a_node_that_does_not_come_back_loses_its_pods(story):
    """Expected: the pod is deleted by the taint manager and waited for, since it may still be at work; once the node answers, the training
    goes on elsewhere, at no charge."""
    *earlier, last = story.after_silence
    assert disruption(story.leaving) == ["DeletionByTaintManager"]
    assert [(row["outcome"], row.get("charged", False)) for row in earlier] == [("Interrupted", False)] * 3
    assert (last["attempt"], last["outcome"]) == (4, "Running")
    assert story.back == NODE
