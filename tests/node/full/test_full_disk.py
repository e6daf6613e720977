"""A stage that writes more to its pod's disk than a LimitRange of its namespace allows."""

import json

import pytest

from node import inputs
from node.release import LAB

LIMIT = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "disk"},
    "spec": {"limits": [{"type": "Container", "default": {"ephemeral-storage": "64Mi"}, "defaultRequest": {"ephemeral-storage": "8Mi"}}]},
}
WRITE = "open('/tmp/large', 'wb').write(bytes(200 * 2**20))"


@pytest.fixture(scope="module")
def story(cluster, start):
    """The evicted pod, and the attempt's row."""
    kubectl = cluster.plane.kubectl
    kubectl("apply", "--namespace", LAB, "-f", "-", input=json.dumps(LIMIT))
    run = start("disk", **inputs.LONG)
    (pod,) = run.at_work("retrain", steps=3)
    kubectl("delete", "limitrange", "disk", "--namespace", LAB)
    run.execute(pod, WRITE)
    evicted = run.until(lambda: next((one for one in run.pods() if one["status"].get("reason") == "Evicted"), None))
    yield evicted, run.ended("retrain", 1), run
    run.delete()


def test_a_pod_over_its_own_limit_is_evicted_without_a_disruption(story):
    """Expected: reason Evicted, and no DisruptionTarget, so Kubernetes does not count it as taken away."""
    pod, _, _ = story
    assert "ephemeral" in pod["status"]["message"]
    assert [one for one in pod["status"].get("conditions", ()) if one["type"] == "DisruptionTarget"] == []


def test_the_attempt_is_charged_and_names_the_limit(story):
    """Expected: DiskLimitExceeded, in the kubelet's words."""
    _, row, _ = story
    assert (row["outcome"], row["reason"], row["charged"]) == ("Failed", "DiskLimitExceeded", True)
    assert "ephemeral" in row["message"]
