"""What Kueue says of a Job that it does not let run, in its own words. tests/e2e/queue/test_kueue.py hears them from a real one."""

import pytest

from ser_core.cli.views.remedies.lookup import REMEDY_OF
from ser_core.loop.observed import Waiting
from ser_operator.facts.pods.queueing import (
    DEACTIVATED,
    NO_QUEUE,
    NOT_ADMITTED,
    NOT_SEEN,
    PODS_NOT_READY,
    QUEUE_UNUSABLE,
    QUEUED,
    SILENT,
    queued,
)

TIMEOUT = "Exceeded the PodsReady timeout lab/job-hh"


def workload(*conditions, created="2026-01-31T12:00:00Z", active=True, checks=(), queue="gpu"):
    found = [dict(zip(("type", "status", "reason", "message"), one, strict=True)) for one in conditions]
    metadata = {"name": "job-hh", "creationTimestamp": created}
    return {
        "metadata": metadata,
        "spec": {"active": active, "queueName": queue},
        "status": {"conditions": found, "admissionChecks": list(checks)},
    }


def no_quota(message, reason="Pending"):
    return ("QuotaReserved", "False", reason, message)


EVICTED = ("Evicted", "True", PODS_NOT_READY, TIMEOUT)
RESERVED = ("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue lab")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], NOT_SEEN),
        ([workload()], SILENT),
        ([workload(no_quota("1 more needed"))], Waiting(QUEUED, f"{NOT_ADMITTED}: 1 more needed")),
        (
            [workload(no_quota("LocalQueue gpu doesn't exist", "Inadmissible"))],
            Waiting(QUEUE_UNUSABLE, "LocalQueue gpu doesn't exist", stalled=True),
        ),
        ([workload(no_quota("LocalQueue  doesn't exist", "Inadmissible"), queue="")], NO_QUEUE),
        ([workload(no_quota(TIMEOUT), EVICTED)], Waiting(PODS_NOT_READY, TIMEOUT)),
        ([workload(RESERVED, EVICTED)], Waiting(PODS_NOT_READY, TIMEOUT)),
        ([workload(RESERVED, ("Evicted", "True", "Preempted", "for others"))], Waiting(QUEUED, f"{NOT_ADMITTED}: for others")),
        ([workload(RESERVED, ("Evicted", "False", "QuotaReserved", "Previously: for others"))], SILENT),
        ([workload(no_quota("1 more needed"), EVICTED)], Waiting(QUEUED, f"{NOT_ADMITTED}: {TIMEOUT}; 1 more needed")),
        (
            [workload(no_quota("for others"), ("Evicted", "True", "Preempted", "for others"))],
            Waiting(QUEUED, f"{NOT_ADMITTED}: for others"),
        ),
        (
            [workload(no_quota("any"), ("Evicted", "True", "Deactivated", "too many tries"), active=False)],
            Waiting(DEACTIVATED, "Kueue does not try workload job-hh any more: too many tries", stalled=True),
        ),
        (
            [workload(RESERVED, checks=[{"name": "nodes", "state": "Pending", "message": "asked for"}])],
            Waiting(QUEUED, f"{NOT_ADMITTED}: admission check nodes: asked for"),
        ),
        ([workload(RESERVED, checks=[{"name": "nodes", "state": "Ready"}])], SILENT),
    ],
)
def test_kueue_is_quoted(found, expected):
    assert queued(found) == expected


def test_the_newest_of_several_workloads_counts():
    old, new = workload(no_quota("old")), workload(no_quota("new"), created="2026-01-31T12:01:00Z")

    assert queued([new, old]).message == f"{NOT_ADMITTED}: new"


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"status": "lost"},
        {"status": {"conditions": [7], "admissionChecks": "none"}, "spec": None},
        {"status": {"admissionChecks": [7]}},
    ],
)
def test_a_workload_that_somebody_has_spoilt_says_nothing(found):
    assert queued([found]) == SILENT


@pytest.mark.parametrize("reason", [QUEUED, NO_QUEUE.reason, QUEUE_UNUSABLE, PODS_NOT_READY, DEACTIVATED])
def test_every_reason_has_a_remedy(reason):
    assert reason in REMEDY_OF
