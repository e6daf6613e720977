"""When the pods of a Job ran, told by whatever is known of them."""

from datetime import UTC, datetime, timedelta

import pytest

from ser_core.loop.observed import Leg
from ser_operator.facts.cache import Cache

from ..test_cache import thing

NOW = datetime(2026, 1, 31, 13, tzinfo=UTC)


def at(minutes):
    return datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(minutes=minutes)


def text(minutes):
    return f"{at(minutes):%Y-%m-%dT%H:%M:%SZ}"


def pod(name, version, begin=None, end=None, deleted=None, **status):
    found = thing(name, name, str(version), owner="j")
    state = {} if begin is None else {"running": {"startedAt": text(begin)}}
    if end is not None:
        state = {"terminated": {"exitCode": 143, "startedAt": text(begin), "finishedAt": text(end)}}
    if deleted is not None:
        found["metadata"]["deletionTimestamp"] = text(deleted)
    return {**found, "status": {"containerStatuses": [{"state": state}], **status}}


@pytest.fixture
def cache():
    cache = Cache(clock=lambda: NOW)
    cache.put("SERRun", thing("r", "climb"))
    cache.put("Job", thing("j", "job", owner="r"))
    return cache


def legs(cache):
    return cache.legs("j")


def test_a_pod_that_waits_has_no_leg_and_one_that_runs_has_an_open_one(cache):
    cache.put("Pod", pod("waits", 1))
    cache.put("Pod", pod("runs", 2, begin=3))

    assert legs(cache) == (Leg(at(3)),)


def test_replaced_pods_are_remembered_beside_their_replacement(cache):
    cache.put("Pod", pod("a", 1, begin=0))
    cache.remove("Pod", pod("a", 2, begin=0, end=5))
    cache.put("Pod", pod("b", 3, begin=9))

    assert legs(cache) == (Leg(at(0), at(5), gone=True), Leg(at(9)))


@pytest.mark.parametrize(("deleted", "end"), [(7, at(7)), (None, NOW), (90, NOW)])
def test_a_pod_that_is_gone_without_a_word_ran_until_it_was_deleted_at_the_latest(cache, deleted, end):
    cache.put("Pod", pod("a", 1, begin=0))
    cache.remove("Pod", pod("a", 2, begin=0, deleted=deleted))

    assert legs(cache) == (Leg(at(0), end, gone=True),)


def test_of_a_pod_whose_node_is_lost_the_begin_stays_known(cache):
    cache.put("Pod", pod("a", 1, begin=0))
    lost = pod("a", 2, phase="Failed", conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": text(4)}])
    lost["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
    cache.put("Pod", lost)

    assert legs(cache) == (Leg(at(0), at(4)),)


def test_a_list_without_a_pod_ends_its_leg(cache):
    cache.put("Pod", pod("a", 1, begin=0))
    cache.forget_unlisted("Pod", (), None, 9)

    assert legs(cache) == (Leg(at(0), NOW, gone=True),)


def test_the_legs_of_the_last_job_that_is_gone_stay_and_those_of_the_one_before_go(cache):
    cache.put("Pod", pod("a", 1, begin=0))
    cache.remove("Pod", pod("a", 2, begin=0, end=5))
    cache.remove("Job", thing("j", "job", owner="r"))
    assert legs(cache) == (Leg(at(0), at(5), gone=True),)
    cache.put("Job", thing("k", "job-2", owner="r"))
    cache.remove("Job", thing("k", "job-2", owner="r"))

    assert legs(cache) == ()


def test_a_late_pod_of_a_job_that_is_gone_leaves_nothing_behind(cache):
    cache.put("Pod", pod("a", 1, begin=0))
    cache.remove("SERRun", thing("r", "climb"))
    cache.remove("Job", thing("j", "job", owner="r"))
    cache.put("Pod", pod("a", 2, begin=0, end=5))
    cache.remove("Pod", pod("a", 3, begin=0, end=5))

    assert legs(cache) == ()
