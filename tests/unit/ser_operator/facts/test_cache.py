"""The cache: newer versions win, a LIST removes what is gone, children are found by their controllers."""

import pytest
from unit.ser_operator.facts.serruns.test_pod_template_asks import nested

from ser_operator.facts.cache import Cache


def thing(uid, name="", version="5", owner=None, namespace="lab"):
    references = [{"uid": owner, "controller": True}] if owner else []
    metadata = {"uid": uid, "name": name or uid, "namespace": namespace, "resourceVersion": version, "ownerReferences": references}
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
    assert cache.forget_unlisted("Job", (), None, 9) == {("lab", "climb")}
    assert cache.jobs("r") == []
    assert cache.forget_unlisted("Job", (), None, 9) == set()


def test_a_list_of_one_namespace_leaves_the_others_alone(cache):
    cache.forget_unlisted("SERRun", (), "other", 9)
    assert cache.run(("lab", "climb"))

    cache.forget_unlisted("SERRun", (), "lab", 9)
    assert cache.run(("lab", "climb")) is None


@pytest.mark.parametrize("kind", ["SERRun", "Job", "Pod"])
def test_what_was_made_after_a_list_outlives_it(cache, kind):
    cache.put(kind, thing("new", "new", version="10", owner={"Job": "r", "Pod": "j"}.get(kind)))

    cache.forget_unlisted(kind, (), None, 9)

    assert cache.sizes()[kind] == 1


def test_what_is_not_listed_and_as_old_as_the_list_is_gone(cache):
    cache.put("Job", thing("j2", version="9", owner="r"))

    cache.forget_unlisted("Job", (), None, 9)

    assert cache.jobs("r") == []


def test_a_run_made_anew_under_the_same_name_is_another_one(cache):
    cache.put("SERRun", thing("r2", "climb", version="9"))
    cache.remove("SERRun", thing("r", "climb"))

    assert cache.run(("lab", "climb"))["metadata"]["uid"] == "r2"
    assert cache.jobs("r2") == []


def test_a_late_answer_of_a_run_that_is_gone_does_not_hide_the_one_that_was_made_anew(cache):
    cache.remove("SERRun", thing("r", "climb"))
    cache.put("SERRun", thing("r2", "climb", version="9"))

    assert cache.put("SERRun", thing("r", "climb", version="7")) is None
    cache.forget_unlisted("SERRun", ("r2",), None, 10)

    assert cache.run(("lab", "climb"))["metadata"]["uid"] == "r2"


@pytest.mark.parametrize(("kind", "owner"), [("SERRun", None), ("Job", "r"), ("Pod", "j")])
def test_what_is_gone_is_not_brought_back_by_an_answer_that_was_on_its_way(cache, kind, owner):
    cache.put(kind, thing("late", "late", version="6", owner=owner))
    cache.remove(kind, thing("late", "late", version="8", owner=owner))

    assert cache.put(kind, thing("late", "late", version="7", owner=owner)) is None
    assert cache.sizes()[kind] == 1


def test_a_job_that_is_gone_for_the_watch_since_it_has_lost_its_labels_is_there_for_an_answer(cache):
    cache.remove("Job", thing("j", "job", version="8", owner="r"))

    assert cache.put("Job", thing("j", "job", version="8", owner="r")) == ("lab", "climb")


def test_how_a_job_ended_that_is_gone_for_good_is_not_forgotten_when_a_late_watch_tells_of_it(cache):
    cache.remove("Job", thing("j", "job", owner="r"), for_good=True)
    cache.remove("Pod", ended_pod())
    cache.put("Job", thing("j", "job", version="7", owner="r"))
    cache.remove("Job", thing("j", "job", version="8", owner="r"))

    assert [pod["metadata"]["uid"] for pod in cache.gone("r")[1]] == ["p"]


def test_a_run_whose_name_another_one_has_is_gone_though_no_watch_has_told_so(cache):
    cache.put("SERRun", thing("r2", "climb", version="9"))

    assert [known.body()["metadata"]["uid"] for known in cache.runs()] == ["r2"]


def ended_pod():
    return {**thing("p", "pod", version="8", owner="j"), "status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 143}}}]}}


def test_how_a_pod_ended_outlives_it_as_long_as_its_job_is_known(cache):
    cache.put("Pod", ended_pod())
    cache.remove("Pod", ended_pod())

    assert [pod["metadata"]["uid"] for pod in cache.pods("j")] == ["p"]
    cache.put("Job", thing("j2", owner="r"))
    cache.remove("Job", thing("j", "job", owner="r"))
    assert [pod["metadata"]["uid"] for pod in cache.pods("j")] == ["p"]
    cache.remove("Job", thing("j2", owner="r"))
    assert cache.pods("j") == []


@pytest.mark.parametrize("job", [thing("j", "job", owner="r"), thing("j", "job")])
def test_of_a_job_that_nobody_will_ask_for_nothing_is_kept_when_its_pods_go_after_it(cache, job):
    cache.put("Job", job)
    cache.remove("SERRun", thing("r", "climb"))
    cache.remove("Job", job)
    cache.remove("Pod", ended_pod())

    assert (cache.pods("j"), cache.legs("j")) == ([], ())


def test_a_job_made_anew_under_the_same_name_is_another_one_though_no_watch_has_told_that_the_first_one_is_gone(cache):
    cache.put("Job", thing("j2", "job", version="9", owner="r"))

    assert [job["metadata"]["uid"] for job in cache.jobs("r")] == ["j2"]
    assert cache.put("Job", thing("j", "job", version="8", owner="r")) is None
    assert [job["metadata"]["uid"] for job in cache.jobs("r")] == ["j2"]


def test_a_job_that_comes_back_has_still_the_pods_that_went_meanwhile(cache):
    cache.remove("Job", thing("j", "job", version="8", owner="r"))
    cache.remove("Pod", ended_pod())
    cache.put("Job", thing("j", "job", version="8", owner="r"))

    assert [pod["metadata"]["uid"] for pod in cache.pods("j")] == ["p"]
    assert cache.gone("r") == ([], [])


def test_of_an_ended_run_no_job_that_is_gone_is_kept(cache):
    cache.put("Job", thing("j2", owner="r"))
    cache.remove("Job", thing("j", owner="r"))
    assert cache.gone("r")[0]

    cache.put("SERRun", ended())
    assert cache.gone("r") == ([], [])

    cache.remove("Job", thing("j2", owner="r"))
    assert cache.gone("r") == ([], [])


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
    cache.remove("Pod", ended_pod())

    job, pod = cache.gone("r")
    assert (job[0]["metadata"]["uid"], pod[0]["metadata"]["uid"]) == ("j", "p")
    cache.remove("SERRun", thing("r", "climb"))
    assert cache.gone("r") == ([], [])


def test_of_two_jobs_that_are_gone_the_newer_one_is_remembered_in_whatever_order_they_go(cache):
    for uid, made in (("old", "2026-01-31T12:00:00Z"), ("new", "2026-01-31T13:00:00Z")):
        job = thing(uid, owner="r")
        job["metadata"]["creationTimestamp"] = made
        cache.put("Job", job)
    cache.remove("Job", thing("new", owner="r"))
    cache.remove("Job", thing("old", owner="r"))

    assert [job["metadata"]["uid"] for job in cache.gone("r")[0]] == ["new"]


def ended(version="6", **status):
    run = thing("r", "climb", version=version)
    run["metadata"]["generation"] = 3
    return {**run, "status": {"phase": "Completed", "finishedAt": "2026-01-31T12:00:00Z", "observedGeneration": 3, **status}}


def test_an_ended_run_is_packed_and_read_back_whole(cache):
    cache.put("SERRun", ended(message="😀" * 100))

    known = cache.known(("lab", "climb"))
    assert isinstance(known._body, bytes)
    assert cache.run(("lab", "climb"))["status"] == ended(message="😀" * 100)["status"]


@pytest.mark.parametrize("change", [{"phase": "Running"}, {"finishedAt": None}, {"observedGeneration": 2}])
def test_only_of_an_ended_run_without_jobs_and_without_news_nothing_is_to_be_done(cache, change):
    cache.put("SERRun", ended())
    assert not cache.is_over(("lab", "climb")), "it has a Job"
    cache.remove("Job", thing("j", owner="r"))
    assert cache.is_over(("lab", "climb"))

    cache.put("SERRun", ended("7", **change))
    assert not cache.is_over(("lab", "climb"))


@pytest.mark.parametrize(("mine", "theirs"), [("", "blue"), ("blue", ""), ("blue", "Blue")])
def test_runs_of_another_class_are_not_so_much_as_looked_at(mine, theirs):
    cache = Cache(mine)
    for name, operator_class in (("mine", mine), ("theirs", theirs)):
        cache.put("SERRun", {**thing(name, name), "spec": {"operatorClass": operator_class} if operator_class else {}})

    assert [cache.run(("lab", name)) is not None for name in ("mine", "theirs")] == [True, False]
    assert cache.sizes()["SERRun"] == 1


def test_an_ended_run_that_cannot_be_packed_is_kept_all_the_same(cache):
    ended = {"status": {"phase": "Failed", "finishedAt": "2026-01-01T00:00:00Z"}, "spec": nested(5000)}
    cache.put("SERRun", {**thing("deep", "deep"), **ended})

    assert cache.run(("lab", "deep"))["spec"] is ended["spec"]
