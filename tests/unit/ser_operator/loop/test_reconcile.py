"""One run brought to its end, whatever the API server, the cache or the operator's own death do on the way."""

from datetime import timedelta

import pytest

from ser_core.api.stage import StageResult
from ser_core.api.status import Outcome, Phase
from ser_core.loop.recording.conditions import conditions
from ser_operator.cluster.transport import ApiError
from ser_operator.facts.serruns.read_run import read_run
from ser_operator.objects import gang, overlay
from ser_operator.settings import Settings

STAGES = 5  # prepare, retrain, label, filter, retrain
GANG = {"resources": {"retrain": {"nodes": 2, "gpus": 8}}}


def test_a_run_takes_one_job_a_stage_and_one_status_write_a_step(operator):
    operator.cluster.apply()

    operator.drive()

    assert operator.status.phase is Phase.COMPLETED
    assert len(operator.cluster.creates) == STAGES
    assert operator.cluster.writes.count("status") == STAGES + 1
    assert operator.status.image == "registry.example/ser:1"


def test_a_second_look_writes_nothing(operator):
    operator.cluster.apply()
    for _ in range(3):
        operator.sync()
        operator.reconcile()
    before = len(operator.cluster.writes)

    operator.sync()
    operator.reconcile()

    assert len(operator.cluster.writes) == before


def test_an_ended_run_costs_nothing_after_a_restart(operator):
    operator.cluster.apply()
    operator.drive()
    before = len(operator.cluster.writes)

    operator.start_operator()
    operator.reconcile()

    assert len(operator.cluster.writes) == before


def crash_points():
    """Writes of an undisturbed run, before and after each."""
    return [(number, side) for number in range(STAGES * 4 + 4) for side in ("before", "after")]


@pytest.mark.parametrize(("spec", "hurry"), [(None, False), (GANG, False), (None, True)], ids=["pod", "gang", "hurry"])
@pytest.mark.parametrize(("number", "side"), crash_points())
def test_a_crash_at_any_write_makes_no_second_job_and_repeats_no_stage(operator, number, side, spec, hurry):
    operator.cluster.apply(spec=spec)
    operator.hurry = hurry

    operator.drive_through_a_crash(number, side)

    assert operator.status.phase is Phase.COMPLETED
    assert len(operator.cluster.creates) == len(set(operator.cluster.creates)) == STAGES
    assert len(operator.executed) == STAGES


def test_while_other_runs_wait_for_their_next_job_status_and_events_come_after_it(operator):
    operator.cluster.apply()
    operator.hurry = True
    operator.sync()

    assert operator.reconcile() == 0
    assert operator.cluster.writes == ["job"]
    operator.reconcile()

    assert operator.cluster.writes == ["job", "status", "event", "event"]
    assert operator.drive().cluster.writes.count("status") == STAGES + 1


def test_what_was_put_off_is_planned_again_when_the_run_has_changed_meanwhile(operator):
    operator.cluster.apply()
    operator.hurry = True
    operator.sync()
    operator.reconcile()
    operator.cluster.runs["lab", "climb"]["spec"]["suspend"] = True
    operator.cluster.stamp(operator.cluster.runs["lab", "climb"])

    with pytest.raises(ApiError, match="changed"):
        operator.reconcile()
    operator.sync()
    operator.reconcile()

    assert operator.cluster.writes[:3] == ["job", "status", "delete"]


def test_a_cache_that_has_not_seen_the_new_job_starts_no_second_one(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.creates
    operator.cache.remove("Job", operator.cluster.jobs[job])

    operator.reconcile()

    assert operator.cluster.creates == [job]
    assert operator.status.stages[-1].outcome is Outcome.RUNNING


def test_how_a_stage_ended_is_read_although_no_status_tells_of_its_job_and_no_watch_of_its_pod(operator):
    operator.cluster.apply()
    operator.sync()
    with pytest.raises(ApiError, match="changed"):
        change_before_the_status_is_written(operator)
    (job,) = operator.cluster.jobs.values()
    operator.finish_stage(job)
    operator.cache.put("SERRun", operator.cluster.runs["lab", "climb"])
    operator.cache.put("Job", job)

    operator.reconcile()

    assert operator.status.stages[0].outcome is Outcome.DONE


def change_before_the_status_is_written(operator):
    def change(_number, what):
        if what == "status":
            operator.cluster.stamp(operator.cluster.runs["lab", "climb"])

    operator.cluster.before = change
    try:
        operator.reconcile()
    finally:
        operator.cluster.before = lambda number, what: None


def test_a_job_without_its_label_is_still_found(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (name,) = operator.cluster.creates
    operator.cluster.jobs[name]["metadata"]["labels"] = {}
    operator.start_operator()
    operator.cache.remove("Job", operator.cluster.jobs[name])

    operator.reconcile()

    assert operator.cluster.creates == [name]


def test_the_end_of_a_job_without_its_label_is_seen_although_no_watch_tells_of_it(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (name,) = operator.cluster.creates
    operator.cluster.jobs[name]["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
    operator.cluster.stamp(operator.cluster.jobs[name])
    operator.sync()
    operator.finish_stage(operator.cluster.jobs[name])

    operator.reconcile()

    assert operator.status.stages[0].outcome is Outcome.DONE


@pytest.mark.parametrize("phase", ["Failed", "Running"])
def test_no_status_makes_the_operator_delete_what_is_not_an_attempt_of_the_run(operator, phase):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    bystander = {"metadata": {"name": "bystander", "namespace": "lab"}, "spec": {}}
    operator.cluster.jobs["bystander"] = bystander
    operator.cluster.stamp(bystander)
    run = operator.cluster.runs["lab", "climb"]
    live = {**run["status"]["stages"][-1], "job": "bystander", "reason": "Suspended"}
    told = [one.model_dump(mode="json", by_alias=True) for one in conditions((), Phase(phase), phase, "", 1, "2026-01-31T12:00:00Z")]
    run["status"] = {**run["status"], "phase": phase, "stages": [live], "conditions": told}
    operator.cluster.stamp(run)
    operator.sync()

    operator.reconcile()

    assert "deletionTimestamp" not in bystander["metadata"]
    assert operator.status.phase == phase


def test_a_lost_result_is_looked_for_and_no_stage_runs_twice(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (name,) = operator.cluster.creates
    operator.finish_stage(operator.cluster.jobs[name])
    operator.cluster.vanish(name)
    operator.start_operator()

    operator.drive()

    modes = [operator.cluster.stage(job).mode for job in operator.cluster.jobs.values()]
    assert modes.count("report") == 1
    assert len(operator.executed) == STAGES


def test_the_answer_of_a_create_that_was_lost_is_adopted(operator):
    operator.cluster.apply()

    def lose(number, what):
        if what == "job":
            operator.cluster.after = lambda *_: None
            raise ApiError(0, "connection reset")

    operator.cluster.after = lose
    operator.sync()
    with pytest.raises(ApiError):
        operator.reconcile()

    operator.drive()

    assert len(operator.cluster.creates) == len(set(operator.cluster.creates)) == STAGES


def test_the_end_of_a_job_that_is_found_as_it_is_to_be_created_is_taken_in_at_once(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.jobs.values()
    operator.finish_stage(job)
    job["metadata"]["labels"] = {}
    run = operator.cluster.runs["lab", "climb"]
    run.pop("status")
    operator.cluster.stamp(run)
    operator.start_operator()
    operator.cache.remove("SERRun", run)
    operator.cache.remove("Job", job)
    operator.cache.put("SERRun", run)

    assert operator.reconcile() == 0
    operator.reconcile()

    assert operator.status.stages[0].outcome is Outcome.DONE


def test_how_an_attempt_ended_that_no_status_tells_of_is_known_from_its_job_that_is_gone(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.jobs.values()
    operator.finish_stage(job)
    del job["status"]
    operator.cluster.stamp(job)
    operator.cluster.runs["lab", "climb"].pop("status")
    operator.cluster.stamp(operator.cluster.runs["lab", "climb"])
    operator.sync()
    operator.cluster.jobs.clear()
    operator.cluster.pods.clear()
    operator.sync()
    operator.reconcile()

    assert operator.status.stages[0].outcome is Outcome.DONE


def test_a_run_that_was_made_anew_under_its_name_is_looked_at_again(operator):
    operator.cluster.apply()
    operator.sync()
    del operator.cluster.runs["lab", "climb"]
    operator.cluster.apply()

    with pytest.raises(ApiError, match="made anew"):
        operator.reconcile()
    operator.reconcile()

    assert operator.status.phase is Phase.RUNNING
    assert len(operator.cluster.creates) == 1


def test_pods_of_jobs_that_have_succeeded_are_not_asked_for(operator, monkeypatch):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    operator.finish_stage(*operator.cluster.live_jobs())
    operator.sync()
    monkeypatch.delattr(type(operator.cluster), "list_pods")

    operator.reconcile()

    assert operator.status.stages[0].outcome is Outcome.DONE
    assert len(operator.cluster.creates) == 2


def test_a_hand_over_asks_for_the_run_alone(operator, monkeypatch):
    operator.cluster.apply(spec={"loop": {"maxIterations": 2, "rule": "calibrated"}})
    asked = []

    def told(name, ask):
        async def tell(*words):
            asked.append((name, words[1]))
            return await ask(*words)

        return tell

    for name in ("get_run", "get_job", "list_pods"):
        monkeypatch.setattr(operator.cluster, name, told(name, getattr(operator.cluster, name)))
    for _ in range(4):
        operator.sync()
        operator.reconcile()
        operator.finish_stage(*operator.cluster.live_jobs())
        operator.sync()
    asked.clear()
    operator.reconcile()

    assert asked == [("get_run", "climb")]
    assert len(operator.cluster.creates) == 5


def test_a_job_that_went_before_any_watch_began_is_missed(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    operator.cluster.jobs.clear()
    operator.reconcile()
    assert len(operator.cluster.creates) == 1

    operator.cluster.now += timedelta(seconds=30)
    operator.reconcile()

    assert operator.status.stages[0].outcome is Outcome.LOST
    assert len(operator.cluster.creates) == 2
    assert [job["metadata"]["name"] for job in operator.cache.all_jobs()] == operator.cluster.creates[1:]


def test_a_result_that_the_cache_has_not_seen_is_asked_for(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    operator.finish_stage(*operator.cluster.live_jobs())
    for job in operator.cluster.jobs.values():
        operator.cache.put("Job", job)

    operator.reconcile()

    assert operator.status.stages[0].outcome is Outcome.DONE


def test_a_foreign_job_with_our_name_is_neither_adopted_nor_deleted(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (name,) = operator.cluster.creates
    foreign = operator.cluster.jobs[name]
    foreign["metadata"]["ownerReferences"][0]["uid"] = "another"
    operator.cluster.runs["lab", "climb"].pop("status")
    operator.start_operator()

    operator.reconcile()

    assert (operator.condition("Stalled").status, operator.condition("Stalled").reason) == ("True", "NameConflict")
    assert name in operator.status.message
    assert "deletionTimestamp" not in foreign["metadata"]
    del operator.cluster.jobs[name]
    assert operator.drive().status.phase is Phase.COMPLETED


def test_a_refused_job_waits_in_the_words_of_the_api_server_without_a_hot_loop(operator):
    operator.cluster.apply()
    operator.cluster.refuse_jobs = ApiError(403, "403 Forbidden: exceeded quota: jobs, requested: count/jobs.batch=1")
    operator.sync()

    pauses = [operator.reconcile()]
    writes = len(operator.cluster.writes)
    operator.sync()
    pauses.append(operator.reconcile())

    assert pauses == [30.0, 30.0]
    assert "exceeded quota" in operator.status.message
    assert operator.cluster.writes[writes:] == []
    operator.cluster.refuse_jobs = None
    assert operator.drive().status.phase is Phase.COMPLETED


def test_a_clock_that_is_set_back_does_not_hold_a_refused_job(operator):
    operator.cluster.apply()
    operator.cluster.refuse_jobs = ApiError(403, "403 Forbidden: exceeded quota")
    operator.sync()
    operator.reconcile()
    operator.cluster.refuse_jobs = None
    operator.cluster.now -= timedelta(hours=1)
    operator.sync()
    operator.reconcile()

    assert len(operator.cluster.creates) == 1


@pytest.mark.parametrize(("finalizer", "is_deleted"), [("backup.example/hold", True), ("orphan", False)])
def test_a_run_that_is_being_deleted_gives_its_gpus_back_unless_its_jobs_are_to_stay(operator, finalizer, is_deleted):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    run = operator.cluster.runs["lab", "climb"]
    run["metadata"] |= {"deletionTimestamp": "2026-01-31T12:00:05Z", "finalizers": [finalizer]}
    operator.cluster.stamp(run)
    operator.sync()
    operator.reconcile()

    (job,) = operator.cluster.jobs.values()
    assert ("deletionTimestamp" in job["metadata"]) is is_deleted


def test_a_pod_beyond_the_level_restricted_is_never_asked_for(make_operator, monkeypatch):
    operator = make_operator(allow={"pod_template": {"labels": ["*"]}})
    monkeypatch.setattr(overlay, "laid_over", lambda own, *_: {**own, "spec": {**own["spec"], "hostNetwork": True}})
    operator.cluster.apply(spec={"podTemplate": {"labels": {"team": "a"}}})
    operator.sync()
    operator.reconcile()

    assert (operator.condition("Stalled").status, operator.condition("Stalled").reason) == ("True", "JobRefused")
    assert "would not be of the level restricted: hostNetwork" in operator.status.message
    assert operator.cluster.creates == []


def test_a_refused_job_is_tried_again_as_soon_as_the_spec_has_changed(operator):
    operator.cluster.apply()
    operator.cluster.refuse_jobs = ApiError(422, "422 Unprocessable Entity: no such priority class")
    operator.sync()
    operator.reconcile()
    operator.cluster.runs["lab", "climb"]["metadata"]["generation"] = 2
    operator.cluster.stamp(operator.cluster.runs["lab", "climb"])
    writes = len(operator.cluster.writes)

    operator.sync()
    operator.reconcile()

    assert operator.cluster.writes[writes] == "job"


@pytest.mark.parametrize("code", [401, 404, 405, 412, 413, 418, 429, 500, 503])
def test_a_stage_that_the_api_server_fails_to_start_waits_in_its_words_and_the_end_of_the_last_stage_is_recorded(operator, code):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    operator.finish_stage(*operator.cluster.live_jobs())
    operator.cluster.refuse_jobs = ApiError(code, "failed calling webhook: connection refused")
    for _ in range(2):
        operator.sync()
        with pytest.raises(ApiError, match="failed calling webhook"):
            operator.reconcile()

    assert [row.outcome for row in operator.status.stages] == [Outcome.DONE]
    assert (operator.status.phase, operator.condition("Stalled").status) == (Phase.WAITING, "False")
    assert "failed calling webhook" in operator.status.message
    assert operator.cluster.writes.count("status") == 2
    operator.cluster.refuse_jobs = None
    assert operator.drive().status.phase is Phase.COMPLETED


def test_where_the_api_server_gives_no_answer_no_status_is_tried(operator):
    operator.cluster.apply()
    operator.cluster.refuse_jobs = ApiError(0, "POST: connection refused")
    operator.sync()
    with pytest.raises(ApiError):
        operator.reconcile()

    assert operator.cluster.writes == ["job"]


def test_a_conflict_without_a_job_of_that_name_is_tried_again(operator):
    operator.cluster.apply()
    operator.cluster.refuse_jobs = ApiError(409, "Operation cannot be fulfilled on resourcequotas: the object has been modified")
    operator.sync()
    with pytest.raises(ApiError, match="resourcequotas"):
        operator.reconcile()

    assert operator.status.stages == ()
    operator.cluster.refuse_jobs = None
    assert operator.drive().status.phase is Phase.COMPLETED
    assert not any(row.outcome is Outcome.LOST for row in operator.status.stages)


def test_a_conflict_that_stays_is_told(operator):
    operator.cluster.apply()
    operator.cluster.refuse_jobs = ApiError(409, 'admission webhook "policy.example" denied the request: no GPU budget')
    for _ in range(2):
        operator.sync()
        with pytest.raises(ApiError):
            operator.reconcile()

    assert (operator.status.phase, "no GPU budget" in operator.status.message) == (Phase.WAITING, True)
    operator.cluster.refuse_jobs = None
    assert operator.drive().status.phase is Phase.COMPLETED


def test_suspend_deletes_the_job_in_the_foreground_and_resume_is_uncharged(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    operator.cluster.runs["lab", "climb"]["spec"]["suspend"] = True
    operator.cluster.stamp(operator.cluster.runs["lab", "climb"])

    operator.sync()
    operator.reconcile()
    (name,) = operator.cluster.creates
    assert operator.cluster.jobs[name]["metadata"]["deletionTimestamp"]
    operator.cluster.vanish(name)
    operator.sync()
    operator.reconcile()
    assert operator.status.phase is Phase.SUSPENDED

    operator.cluster.runs["lab", "climb"]["spec"]["suspend"] = False
    operator.cluster.stamp(operator.cluster.runs["lab", "climb"])
    operator.drive()
    assert operator.status.phase is Phase.COMPLETED
    assert not any(row.charged for row in operator.status.stages)


def test_the_last_words_of_a_stopped_job_are_heard_although_it_is_gone_by_now(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    operator.cluster.runs["lab", "climb"]["spec"]["suspend"] = True
    operator.cluster.stamp(operator.cluster.runs["lab", "climb"])
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.jobs.values()
    operator.cluster.end(job, 143, StageResult(outcome="interrupted", checkpoint_step=5).model_dump_json(by_alias=True))
    job["status"] = {}
    operator.sync()
    operator.cluster.vanish(job["metadata"]["name"])
    operator.sync()

    operator.reconcile()

    assert (operator.status.phase, operator.status.stages[-1].checkpoint_step) == (Phase.SUSPENDED, 5)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"storage": {"uri": "s3://bucket/x", "credentialsSecret": "root"}}, "storage.credentialsSecret 'root'"),
        ({"storage": {"uri": "s3://other/x"}}, "storage.uri 's3://other/x'"),
        ({"rewardModel": {"base": "file:///etc"}}, "rewardModel.base 'file:///etc'"),
    ],
)
def test_what_the_operator_does_not_allow_fails_by_name_before_any_job(make_operator, spec, field):
    operator = make_operator(allow={"write": ["s3://bucket/*"]})
    operator.cluster.apply(spec=spec)

    operator.drive()

    assert operator.condition("Failed").reason == "NotAllowed"
    assert field in operator.status.message
    assert operator.cluster.creates == []


def test_what_is_allowed_later_goes_on_once_it_is_reopened(make_operator):
    operator = make_operator(allow={"write": ["s3://other/*"]})
    operator.cluster.apply()
    operator.drive()
    operator.settings = Settings(image="registry.example/ser:1")
    operator.start_operator()
    assert operator.drive().status.phase is Phase.FAILED
    change(operator, reopen=1)

    assert operator.drive().status.phase is Phase.COMPLETED


def restarted(operator, **allow):
    """Another operator with other lists, after the first stage."""
    operator.settings = Settings(image="registry.example/ser:1", allow=allow)
    operator.start_operator()
    return operator


def begun(operator, **spec):
    operator.cluster.apply(spec=spec)
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.live_jobs()
    operator.finish_stage(job)
    return operator


def test_lists_judge_a_run_once_at_its_start(operator):
    restarted(begun(operator), write=[], read=[], nodes=1)

    assert operator.drive().status.phase is Phase.COMPLETED


def test_a_run_that_an_operator_without_lists_has_begun_goes_on(make_operator):
    operator = begun(make_operator(allow={"priority_classes": ["*"]}), resources={"retrain": {"priorityClassName": "system-node-critical"}})
    run = operator.cluster.runs["lab", "climb"]
    del run["status"]["judged"]
    operator.cluster.stamp(run)
    restarted(operator)

    assert operator.drive().status.phase is Phase.COMPLETED


def test_what_is_changed_of_a_run_that_has_begun_is_judged_again_and_can_be_changed_back(operator):
    begun(operator)
    change(operator, resources={"retrain": {"priorityClassName": "system-node-critical"}})
    jobs = len(operator.cluster.creates)

    operator.drive()

    assert operator.condition("Failed").reason == "NotAllowed"
    assert "resources.retrain.priorityClassName 'system-node-critical'" in operator.status.message
    assert len(operator.cluster.creates) == jobs
    change(operator, reopen=1)
    assert operator.drive().status.phase is Phase.FAILED
    assert len(operator.cluster.creates) == jobs
    change(operator, resources={}, reopen=2)
    assert operator.drive().status.phase is Phase.COMPLETED


def test_what_is_changed_of_a_run_before_its_operator_has_lists_is_judged(operator):
    begun(operator)
    del operator.cluster.runs["lab", "climb"]["status"]["judged"]
    change(operator, resources={"retrain": {"priorityClassName": "system-node-critical"}})

    operator.drive()

    assert operator.condition("Failed").reason == "NotAllowed"


def change(operator, **spec):
    run = operator.cluster.runs["lab", "climb"]
    run["spec"] |= spec
    run["metadata"]["generation"] += 1
    operator.cluster.stamp(run)


def test_a_pod_that_is_held_back_is_told_and_goes_on_once_it_is_let_go(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked"}
    operator.cluster.add_pod(*operator.cluster.live_jobs(), conditions=[gated])
    operator.cluster.now += timedelta(minutes=1)
    operator.sync()
    operator.reconcile()
    assert operator.condition("Ready").reason == "SchedulingGated"

    assert operator.drive().status.phase is Phase.COMPLETED


def test_a_stage_that_cannot_be_shared_out_waits_until_it_is_one_process(operator):
    operator.cluster.apply(spec={"resources": {"prepare": {"gpus": 8}}})
    operator.sync()
    operator.reconcile()

    assert (operator.condition("Stalled").status, operator.condition("Stalled").reason) == ("True", "NotSupported")
    assert "resources.prepare" in operator.status.message
    assert operator.cluster.creates == []

    operator.cluster.runs["lab", "climb"]["spec"]["resources"]["prepare"]["gpus"] = 1
    operator.cluster.stamp(operator.cluster.runs["lab", "climb"])
    assert operator.drive().status.phase is Phase.COMPLETED


def test_the_gangs_of_a_run_share_one_service(operator):
    operator.cluster.apply(spec=GANG)

    operator.drive()

    assert operator.cluster.writes.count("service") == 2  # the second finds that it exists
    (service,) = operator.cluster.services.values()
    assert service["metadata"]["ownerReferences"][0]["uid"] == operator.cluster.runs["lab", "climb"]["metadata"]["uid"]


def test_a_service_of_somebody_else_is_not_taken(operator):
    operator.cluster.apply(spec=GANG)
    operator.sync()
    operator.reconcile()
    operator.finish_stage(*operator.cluster.live_jobs())
    name = gang.service_name(read_run(operator.cluster.runs["lab", "climb"]))
    operator.cluster.services[name] = {"metadata": {"name": name, "ownerReferences": [{"uid": "another", "controller": True}]}}

    operator.sync()
    operator.reconcile()

    assert operator.condition("Stalled").reason == "NameConflict"
    assert name in operator.status.message
    assert len(operator.cluster.creates) == 1
    del operator.cluster.services[name]
    assert operator.drive().status.phase is Phase.COMPLETED


def test_a_spec_that_passed_admission_but_is_unusable_fails_once_with_its_fields(operator):
    operator.cluster.apply(spec={"loop": {"maxIterations": 99}})

    operator.sync()
    operator.reconcile()
    writes = len(operator.cluster.writes)
    operator.sync()
    operator.reconcile()

    assert operator.condition("Failed").reason == "InvalidSpec"
    assert "spec.loop.maxIterations" in operator.status.message
    assert len(operator.cluster.writes) == writes == 1


def test_a_spec_that_can_be_read_again_goes_on(operator):
    operator.cluster.apply(spec={"loop": {"maxIterations": 99}})
    operator.sync()
    operator.reconcile()
    change(operator, loop={"maxIterations": 1})

    assert operator.drive().status.phase is Phase.COMPLETED


def test_a_spec_that_is_wrong_in_another_way_is_told_so(operator):
    operator.cluster.apply(spec={"loop": {"maxIterations": 99}})
    operator.sync()
    operator.reconcile()
    change(operator, loop={"maxIterations": 1}, training={"epochs": 101})
    operator.sync()
    operator.reconcile()
    assert operator.status.phase is Phase.FAILED
    assert "spec.training.epochs" in operator.status.message and "maxIterations" not in operator.status.message
    assert operator.status.observed_generation == 2


@pytest.mark.parametrize("status", [{"phase": "Nonsense"}, {"stages": "none"}, {"iterations": [{"iteration": {}}]}])
def test_a_status_that_somebody_garbled_counts_as_lost(operator, status):
    operator.cluster.apply(status=status)

    operator.drive()

    assert operator.status.phase is Phase.COMPLETED


def test_a_pod_that_pulls_its_image_for_long_is_told_and_its_run_counts_as_running(operator):
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.live_jobs()
    pod = operator.cluster.add_pod(job, containerStatuses=[{"name": "stage", "state": {"waiting": {"reason": "ContainerCreating"}}}])
    told = {"type": "Normal", "message": 'Pulling image "x"', "involvedObject": {"uid": pod["metadata"]["uid"]}}
    operator.cluster.events["pull"] = {"metadata": {"name": "pull"}, **told}
    operator.cluster.now += timedelta(seconds=31)
    operator.sync()
    operator.reconcile()
    assert operator.status.message == 'prepare, attempt 1, has not started yet: Pulling image "x"'
    assert operator.status.phase is Phase.RUNNING
