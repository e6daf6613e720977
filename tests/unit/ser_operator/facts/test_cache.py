"""The cache: newer versions win, a LIST removes what is gone, children are found by their controllers."""

import pytest

from ser_operator.facts.cache import Cache


def thing(uid, name="n", version="5", owner=None, namespace="lab"):
    references = [{"uid": owner, "controller": True}] if owner else []
    metadata = {"uid": uid, "name": name, "namespace": namespace, "resourceVersion": version, "ownerReferences": references}
    return {"metadata": {**metadata, "managedFields": [1, 2, 3]}}


@pytest.fixture
def cache():
    cache = Cache()
    cache.put("SERRun", thing("r", "climb"))
    cache.put("Job", thing("j", "job", owner="r"))
    cache.put("Pod", thing("p", "pod", owner="j"))
    return cache


def test_children_lead_to_their_run(cache):
    assert cache.key_of("Pod", thing("p", owner="j")) == ("lab", "climb")
    assert [job["metadata"]["uid"] for job in cache.jobs("r")] == ["j"]
    assert [pod["metadata"]["uid"] for pod in cache.pods("j")] == ["p"]


def test_a_job_that_is_taken_away_from_its_run_concerns_that_run(cache):
    assert cache.put("Job", thing("j", version="6")) == ("lab", "climb")
    assert cache.jobs("r") == []


def test_an_older_version_changes_nothing(cache):
    assert cache.put("Job", thing("j", version="4")) is None
    assert len(cache.jobs("r")) == 1


def test_the_echo_of_an_answer_concerns_nobody(cache):
    assert cache.put("Job", thing("j", version="6", owner="r")) == ("lab", "climb")
    assert cache.put("Job", thing("j", version="6", owner="r")) is None


def test_a_list_removes_what_the_watch_never_said_was_gone(cache):
    assert cache.replace("Job", [], None) == {("lab", "climb")}
    assert cache.jobs("r") == []
    assert cache.replace("Job", [], None) == set()


def test_a_list_of_one_namespace_leaves_the_others_alone(cache):
    cache.replace("SERRun", [], "other")

    assert cache.run(("lab", "climb"))


def test_a_run_made_anew_under_the_same_name_is_another_one(cache):
    cache.put("SERRun", thing("r2", "climb", version="9"))
    cache.remove("SERRun", thing("r", "climb"))

    assert cache.run(("lab", "climb"))["metadata"]["uid"] == "r2"
    assert cache.jobs("r2") == []


def test_how_a_pod_ended_outlives_it_as_long_as_its_job(cache):
    ended = thing("p", "pod", version="8", owner="j")
    ended["status"] = {"containerStatuses": [{"state": {"terminated": {"exitCode": 143}}}]}
    cache.put("Pod", ended)
    cache.remove("Pod", ended)

    assert [pod["metadata"]["uid"] for pod in cache.pods("j")] == ["p"]
    cache.remove("Job", thing("j", "job", owner="r"))
    assert cache.pods("j") == []


def test_how_each_part_of_a_gang_ended_outlives_its_pod(cache):
    for index in (1, 2):
        ended = thing(f"p{index}", f"pod-{index}", version="8", owner="j")
        ended["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": str(index)}
        ended["status"] = {"containerStatuses": [{"state": {"terminated": {"exitCode": 143}}}]}
        cache.put("Pod", ended)
        cache.remove("Pod", ended)

    assert [pod["metadata"]["uid"] for pod in cache.pods("j")] == ["p", "p1", "p2"]
    assert [pod["metadata"]["uid"] for pod in cache.remains("j", cache.pods("j")[:2])] == ["p2"]


def test_the_last_job_that_is_gone_and_its_pods_are_remembered_as_long_as_the_run(cache):
    cache.remove("Job", thing("j", "job", owner="r"))
    cache.remove("Pod", thing("p", "pod", owner="j"))

    job, pod = cache.gone("r")
    assert (job[0]["metadata"]["uid"], pod[0]["metadata"]["uid"]) == ("j", "p")
    cache.remove("SERRun", thing("r", "climb"))
    assert cache.gone("r") == ([], [])


def test_what_nobody_reads_is_not_kept(cache):
    assert "managedFields" not in cache.run(("lab", "climb"))["metadata"]
