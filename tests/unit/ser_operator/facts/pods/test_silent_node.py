"""A node that does not answer is known by what the node controller does to its pods."""

import asyncio
from datetime import UTC, datetime

import pytest

from ser_operator.cluster.glances import Glances
from ser_operator.facts.pods.silent_node import NODE_NOT_READY, silent_node
from ser_operator.settings import Settings

SINCE = "2026-01-31T12:05:00Z"


def pod(ready, containers_ready, state="running"):
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": SINCE}, {"type": "ContainersReady", "status": containers_ready}]
    statuses = [{"state": {state: {"startedAt": "2026-01-31T12:00:00Z"}}}]
    return {"metadata": {"name": "p"}, "spec": {"nodeName": "n1"}, "status": {"conditions": conditions, "containerStatuses": statuses}}


def test_a_running_pod_that_was_made_unready_tells_of_its_node():
    found = silent_node([pod("False", "True")])

    assert (found.reason, found.stalled) == ("NodeNotReady", True)
    assert found.message == f"node n1 has not answered since {SINCE}; pod p may still be at work there"


@pytest.mark.parametrize(
    "quiet",
    [pod("True", "True"), pod("False", "False"), pod("False", "True", "terminated"), pod("False", "True", "waiting"), {"status": {}}],
    ids=["at work", "unready by its kubelet", "ended", "not begun", "unknown"],
)
def test_everything_else_tells_of_none(quiet):
    assert silent_node([quiet]) is None


def test_one_silent_node_of_a_gang_is_enough():
    parts = [pod("True", "True"), pod("False", "True")]
    for index, part in enumerate(parts):
        part["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": str(index)}

    assert silent_node(parts).reason == "NodeNotReady"


def test_a_run_at_work_on_a_silent_node_waits_for_the_node():
    """Neither its pod nor the API server is asked for anything."""
    glances = Glances(None, Settings(image="registry.example/ser:1"), None)

    seen = asyncio.run(glances.look(("lab", "hh"), {"metadata": {"uid": "j"}}, [pod("False", "True")], datetime.now(UTC)))

    assert seen.waiting.reason == NODE_NOT_READY
