"""What a run that does not run says: the words of whoever makes it wait, and nothing that changes at every look."""

from datetime import timedelta

import pytest

from ser_core.loop.observed import Waiting
from ser_operator.facts.pods.waiting import starting, stuck, waiting, waits_since

from ...conftest import START

JOB = {"metadata": {"name": "ser-climb-0-prepare-0123456789", "uid": "j"}, "spec": {}}


def pod(**status):
    return {"metadata": {"name": "p", "creationTimestamp": "2026-01-31T12:00:00Z"}, "spec": {"nodeName": "n1"}, "status": status}


def warning(reason, message, at="2026-01-31T12:00:00Z"):
    return {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": at}


def test_the_scheduler_is_quoted():
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}

    found = waiting(JOB, [pod(phase="Pending", conditions=[condition])], [])

    assert (found.reason, found.message, found.stalled) == ("Unschedulable", "0/1 nodes are available", False)


def test_the_kubelet_is_quoted():
    state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}

    found = waiting(JOB, [pod(phase="Pending", containerStatuses=[{"state": state}])], [])

    assert (found.reason, found.message) == ("ImagePullBackOff", 'Back-off pulling image "x"')


def test_trying_to_pull_and_backing_off_are_one_reason():
    cause = "failed to pull and unpack image: not found"
    states = [("ErrImagePull", cause), ("ImagePullBackOff", f'Back-off pulling image "x": ErrImagePull: {cause}')]
    shown = [{"state": {"waiting": {"reason": reason, "message": said}}} for reason, said in states]

    assert [waiting(JOB, [pod(phase="Pending", containerStatuses=[state])], []) for state in shown] == [Waiting("ErrImagePull", cause)] * 2


def test_where_the_pod_says_nothing_its_newest_warning_does():
    creating = {"waiting": {"reason": "ContainerCreating"}}
    events = [
        warning("FailedMount", 'secret "ser-s3" not found', "2026-01-31T12:02:00Z"),
        warning("Other", "old", "2026-01-31T12:01:00Z"),
        {"type": "Normal", "reason": "Scheduled", "message": "bound", "lastTimestamp": "2026-01-31T12:09:00Z"},
    ]

    found = waiting(JOB, [pod(phase="Pending", containerStatuses=[{"state": creating}])], events)

    assert (found.reason, found.message) == ("FailedMount", 'secret "ser-s3" not found')


def test_a_container_that_is_made_for_long_is_told_in_the_words_of_the_kubelet():
    made = pod(phase="Pending", containerStatuses=[{"state": {"waiting": {"reason": "ContainerCreating"}}}])
    pulls = {"type": "Normal", "reason": "Pulling", "message": 'Pulling image "x"', "lastTimestamp": "2026-01-31T12:09:00Z"}

    assert starting(made, [pulls]) == Waiting("ContainerCreating", 'Pulling image "x"', starting=True)
    assert starting(made, []).message == "its container is made"
    assert starting(pod(phase="Pending"), [pulls]) is None


SCHEDULED = {"type": "PodScheduled", "status": "True"}
MADE = {"state": {"waiting": {"reason": "ContainerCreating"}}}
PULLS = {"type": "Normal", "reason": "Pulling", "message": "pulls", "lastTimestamp": "2026-01-31T12:03:05Z"}
NO_NODE = warning("FailedScheduling", "0/3 nodes are available", "2026-01-31T12:00:01Z")


@pytest.mark.parametrize(
    "events",
    [
        [NO_NODE],
        [NO_NODE, PULLS],
        [warning("FailedMount", "no secret", "2026-01-31T12:03:05Z"), PULLS],
    ],
    ids=["no other Event is known yet", "scheduled", "mounted"],
)
def test_a_trouble_that_is_over_is_not_waited_for(events):
    scheduled = pod(phase="Pending", conditions=[SCHEDULED], containerStatuses=[MADE])

    assert waiting(JOB, [scheduled], events) is None
    assert starting(scheduled, events).message == ("pulls" if len(events) > 1 else "its container is made")


@pytest.mark.parametrize(("reason", "again"), [("Failed", "Pulling"), ("BackOff", "Created")])
def test_a_trouble_that_comes_again_and_again_is_told_between_two_tries_too(reason, again):
    """Of another container, which the state of the stage does not show."""
    tried = {"type": "Normal", "reason": again, "message": "tries", "lastTimestamp": "2026-01-31T12:05:00Z"}
    scheduled = pod(phase="Pending", conditions=[SCHEDULED], containerStatuses=[MADE])

    assert waiting(JOB, [scheduled], [warning(reason, "trouble"), tried]) == Waiting(reason, "trouble")


def test_a_trouble_that_comes_after_is_told():
    scheduled = pod(phase="Pending", conditions=[SCHEDULED], containerStatuses=[MADE])

    assert waiting(JOB, [scheduled], [PULLS, warning("FailedMount", "gone", "2026-01-31T12:04:00Z")]).reason == "FailedMount"


def test_a_quota_message_does_not_change_with_the_random_name_of_the_pod():
    said = [f'pods "{JOB["metadata"]["name"]}-{suffix}" is forbidden: exceeded quota: gpu' for suffix in ("abcde", "x7k2p")]
    said.append(f"(combined from similar events): {said[0]}")

    messages = [waiting(JOB, [], [warning("FailedCreate", one)]).message for one in said]

    assert messages[0] == messages[1] == messages[2] == 'pods "ser-climb-0-prepare-0123456789" is forbidden: exceeded quota: gpu'


def test_a_job_that_its_queue_has_evicted_waits_although_its_last_pod_has_run():
    ended = pod(phase="Failed", containerStatuses=[{"state": {"terminated": {"exitCode": 143}}}])
    evicted = {"metadata": {**JOB["metadata"], "creationTimestamp": "2026-01-31T12:00:00Z"}, "spec": {"suspend": True}}

    assert waits_since({**JOB, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}, [ended]) is None
    assert waits_since(evicted, [ended]) == START


@pytest.mark.parametrize(("said", "told"), [("2026-01-31T12:04:00Z", None), ("2026-01-31T12:06:00Z", Waiting("FailedCreate", "quota"))])
def test_of_a_job_whose_pod_has_failed_only_later_events_count(said, told):
    state = {"terminated": {"exitCode": 143, "finishedAt": "2026-01-31T12:05:00Z"}}
    before = pod(phase="Failed", containerStatuses=[{"state": state}])

    assert waits_since(JOB, [before]) == START + timedelta(minutes=5)
    assert waiting(JOB, [before], [warning("FailedCreate", "quota", said)]) == told


def test_a_queued_job_waits_for_its_queue():
    found = waiting({**JOB, "spec": {"suspend": True}}, [], [])

    assert (found.reason, found.message) == ("Queued", "its queue has not admitted it")


@pytest.mark.parametrize(("minutes", "is_stuck"), [(4, False), (6, True)])
def test_a_pod_that_outlives_its_grace_period_by_five_minutes_stalls_the_run(minutes, is_stuck):
    ghost = pod(phase="Running")
    ghost["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"

    found = stuck([ghost], START + timedelta(minutes=minutes))

    assert (found is not None) is is_stuck
    if found is not None:
        assert found.stalled
        assert "node n1" in found.message
        assert "kubectl delete pod --force" in found.message
