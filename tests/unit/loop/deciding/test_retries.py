"""What an attempt's end means: charged or not, tried again or not."""

import dataclasses
from datetime import timedelta

import pytest

from ser_core.api.stage import StageResult
from ser_core.api.status import StageKind
from ser_core.errors import StageHung, StoreError
from ser_core.loop.deciding.stages import StageKey, job_name
from ser_core.loop.deciding.token_budget import with_half_batches


def attempts(world, stage="retrain"):
    return [(row.attempt, row.mode, row.outcome, row.charged) for row in world.rows(stage)]


def fail(world, pause=300, **end):
    """End the live attempt, then plan until the pause is over."""
    world.settle(**end)
    world.wait(pause)
    return world.reconcile()


@pytest.mark.parametrize("code", [10, 11, 12, 19])
def test_a_user_error_is_never_retried(make_world, code):
    world = make_world().at("prepare")
    planned = world.settle(outcome="failed", exit_code=code, reason="DataError", message="line 3 has no chosen")

    assert (world.status.phase, planned.actions) == ("Failed", ())
    assert world.condition("Failed").reason == "DataError"
    assert world.status.message == "prepare: line 3 has no chosen"
    assert [event.reason for event in planned.events if event.type == "Warning"] == ["DataError", "DataError"]


def test_the_remedy_is_told_with_the_message(make_world):
    world = make_world().at("prepare")
    world.end("failed", exit_code=10)
    (job,) = world.jobs.values()
    result = StageResult(outcome="failed", reason="SpecError", message="no such model", hint="check rewardModel.base")
    world.jobs[job.job] = dataclasses.replace(job, result=result)
    world.reconcile()

    assert world.status.message == "prepare: no such model; check rewardModel.base"


@pytest.mark.parametrize("code", [22, 23])
def test_a_hang_is_retried_twice(make_world, code):
    world = make_world().at("retrain")
    fail(world, outcome="failed", exit_code=code, reason="StageHung")
    fail(world, outcome="failed", exit_code=code, reason="StageHung")
    assert attempts(world) == [(1, "execute", "Failed", True), (2, "execute", "Failed", True), (3, "execute", "Running", False)]

    world.settle(outcome="failed", exit_code=code, reason="StageHung", message="no step")
    assert (world.status.phase, world.condition("Failed").reason) == ("Failed", "StageHung")
    assert world.status.message == "retrain of the seed model: 3 charged attempts, the last one: no step"


def test_retries_say_how_often_and_after_which_pause(make_world):
    world = make_world(retries={"limit": 5, "pause": "1m"}).at("retrain")
    pauses = []
    for code in (1, 2, 4, 8):
        pauses.append(world.settle(outcome="failed", exit_code=code).requeue_after)
        world.wait(700)
        world.reconcile()
    assert pauses == [60, 120, 240, 480]

    world.settle(outcome="failed", exit_code=16)
    assert world.status.phase == "Failed"


def test_a_raised_limit_gives_a_live_run_more_tries(make_world):
    world = make_world().at("retrain")
    fail(world, outcome="failed", exit_code=1)
    fail(world, outcome="failed", exit_code=2)
    world.change(retries={"limit": 4})
    fail(world, outcome="failed", exit_code=4)

    assert world.status.phase == "Running"


def test_pauses_double(make_world):
    world = make_world().at("retrain")
    first = world.settle(outcome="failed", exit_code=1)
    assert (first.actions, first.requeue_after) == ((), 10)
    world.wait(9)
    assert (world.plan().actions, world.plan().requeue_after) == ((), 1)
    world.wait(1)
    assert len(world.reconcile().actions) == 1
    second = world.settle(outcome="failed", exit_code=2)
    assert (second.actions, second.requeue_after) == ((), 20)


@pytest.mark.parametrize("code", [StageHung.exit_code, StoreError.exit_code], ids=["charged", "a fault of the world"])
def test_a_pause_ends_though_the_clock_goes_back(make_world, code):
    world = make_world().at("retrain")
    world.settle(outcome="failed", exit_code=code)
    world.reconcile()
    assert not world.live()

    world.wait(-3600)
    world.reconcile()
    assert world.live()


def test_a_new_stage_starts_with_a_clean_record(make_world):
    world = make_world().at("prepare")
    fail(world, outcome="failed", exit_code=1)
    fail(world, outcome="failed", exit_code=2)
    world.at("retrain")
    fail(world, outcome="failed", exit_code=1)
    fail(world, outcome="failed", exit_code=2)

    assert world.status.phase == "Running"


@pytest.mark.parametrize(("codes", "phase"), [((1, 1), "Failed"), ((137, 137), "Failed"), ((1, 137), "Running"), ((1, 2, 1), "Failed")])
def test_the_same_unknown_failure_twice_in_a_row_is_final(make_world, codes, phase):
    world = make_world().at("retrain")
    for code in codes:
        fail(world, outcome="failed", exit_code=code, result=False)

    assert world.status.phase == phase


def test_progress_between_two_equal_failures_allows_another_try(make_world):
    world = make_world().at("retrain")
    for step in (100, 200):
        fail(world, outcome="failed", exit_code=1, reason="SERError", checkpoint_step=step)

    assert attempts(world)[-1] == (3, "execute", "Running", False)


def test_a_signal_without_a_report_is_named_by_its_code(make_world):
    world = make_world().at("retrain")
    world.settle(outcome="failed", exit_code=137, result=False)

    assert [(row.reason, row.message) for row in world.rows("retrain")] == [("ExitCode137", "ended with exit code 137 and no report")]


def test_killed_for_memory_is_tried_once_more_with_half_of_the_tokens(make_world):
    world = make_world(resources={"retrain": {"gpus": 1}}).at("retrain")
    budgets = [world.specs[world.live()[0].job].spec.spec.training.tokens_per_batch]
    fail(world, outcome="failed", exit_code=137, result=False, out_of_memory=True)
    budgets.append(world.specs[world.live()[0].job].spec.spec.training.tokens_per_batch)
    fail(world, outcome="failed", exit_code=137, result=False, out_of_memory=True)

    assert budgets == [8192, 4096]
    assert [(row.exit_code, row.reason, row.charged) for row in world.rows("retrain")] == [(21, "OutOfMemory", True)] * 2
    failed = world.condition("Failed")
    assert failed.reason == "OutOfMemory"
    assert "ran out of memory twice" in failed.message and "resources.retrain.memory" in failed.message


def test_without_gpus_half_is_counted_from_what_a_cpu_takes(make_run):
    def halved(tokens, stage=StageKind.RETRAIN):
        return with_half_batches(make_run(training={"tokensPerBatch": tokens}).spec, stage, gpus=0).training.tokens_per_batch

    assert [halved(tokens) for tokens in (8192, 2048, 100, 64)] == [1024, 1024, 64, 64]
    assert halved(8192, StageKind.FILTER) == 8192


@pytest.mark.parametrize(
    "end", [{"outcome": "interrupted"}, {"outcome": "failed", "exit_code": 1, "disruption": "Eviction", "result": False}]
)
def test_an_interrupted_attempt_is_continued_at_once_and_not_charged(make_world, end):
    world = make_world().at("retrain")
    (action,) = world.settle(**end).actions

    assert (action.spec.attempt, action.spec.mode) == (2, "execute")
    assert attempts(world)[0] == (1, "execute", "Interrupted", False)


def test_newer_checkpoints_keep_interruptions_free_for_ever(make_world):
    world = make_world().at("retrain")
    for step in range(50):
        world.settle(outcome="interrupted", checkpoint_step=step)

    assert not any(row.charged for row in world.rows("retrain"))
    assert world.live()[0].attempt == 51


def test_a_lost_result_is_first_looked_for(make_world):
    world = make_world(resources={"retrain": {"gpus": 8}}).at("retrain")
    (action,) = world.settle(result=False).actions
    assert (action.spec.attempt, action.spec.mode) == (2, "report")
    assert attempts(world) == [(1, "execute", "Lost", False), (2, "report", "Running", False)]
    assert world.rows("retrain")[-1].gpus == 0

    world.settle()
    assert attempts(world) == [(1, "execute", "Lost", False), (2, "report", "Done", False)]
    assert world.live()[0].stage == "label"


def test_an_attempt_that_vanished_is_lost(make_world):
    world = make_world().at("retrain")
    world.lose()
    (action,) = world.reconcile().actions

    assert (action.spec.attempt, action.spec.mode) == (2, "report")


def test_a_lost_attempt_without_a_manifest_is_executed_again(make_world):
    world = make_world().at("retrain")
    world.lose()
    world.reconcile()
    (action,) = world.settle(outcome="absent").actions

    assert (action.spec.attempt, action.spec.mode) == (3, "execute")
    assert attempts(world) == [
        (1, "execute", "Lost", False),
        (2, "report", "Failed", False),
        (3, "execute", "Running", False),
    ]


def test_a_success_without_a_result_and_without_a_manifest_is_charged(make_world):
    world = make_world(retries={"limit": 2}).at("retrain")
    for _ in range(2):
        assert world.status.phase == "Running"
        world.end("failed", exit_code=0, result=False, state="succeeded")
        world.reconcile()
        fail(world, outcome="absent")

    assert (world.status.phase, world.condition("Failed").reason) == ("Failed", "NoResult")


def test_a_lost_report_is_asked_for_again(make_world):
    world = make_world().at("retrain")
    world.lose()
    world.reconcile()
    world.lose()
    world.reconcile()
    world.wait(10)
    (action,) = world.reconcile().actions

    assert (action.spec.attempt, action.spec.mode) == (3, "report")
    assert [row.charged for row in world.rows("retrain")] == [False, False, False]


def test_a_failed_report_is_tried_again_as_a_report(make_world):
    world = make_world().at("retrain")
    world.lose()
    world.reconcile()
    (action,) = fail(world, outcome="failed", exit_code=20).actions

    assert (action.spec.attempt, action.spec.mode) == (3, "report")


@pytest.mark.parametrize("outcome", ["done", "superseded"])
@pytest.mark.parametrize("wrong", [{"iteration": 3}, {"stage": StageKind.LABEL}])
def test_another_stages_manifest_is_refused(make_world, outcome, wrong):
    world = make_world().at("retrain")
    world.end()
    job = next(job for job in world.jobs.values() if job.stage == "retrain")
    manifest = job.result.manifest.model_copy(update=wrong)
    world.jobs[job.job] = dataclasses.replace(job, result=job.result.model_copy(update={"outcome": outcome, "manifest": manifest}))
    world.reconcile()

    assert (world.status.phase, world.condition("Failed").reason) == ("Failed", "ResultMismatch")


@pytest.mark.parametrize(
    "change",
    [{"manifest": None}, {"metrics": None}, {"metrics": {"kind": "label", "labeled": 1, "truncated": 0}}],
    ids=["no manifest", "no metrics", "metrics of another stage"],
)
def test_an_incomplete_result_is_refused(make_world, change):
    world = make_world().at("retrain")
    world.end()
    job = next(job for job in world.jobs.values() if job.stage == "retrain")
    result = StageResult.model_validate(job.result.model_dump() | change)
    world.jobs[job.job] = dataclasses.replace(job, result=result)
    world.reconcile()

    assert world.condition("Failed").reason == "ResultMismatch"


@pytest.mark.parametrize("part", ["uri", "sha256"])
def test_a_manifest_that_the_status_cannot_hold_is_refused(make_world, part):
    world = make_world().at("prepare")
    world.end()
    (job,) = world.jobs.values()
    manifest = job.result.manifest.model_copy(update={part: "x" * 1201})
    world.jobs[job.job] = dataclasses.replace(job, result=job.result.model_copy(update={"manifest": manifest}))
    world.reconcile()

    assert world.condition("Failed").reason == "ResultMismatch"


def test_an_interrupted_attempt_says_who_took_it_away(make_world):
    world = make_world().at("retrain")
    world.settle(outcome="interrupted", disruption="PreemptionByScheduler: for a higher priority pod", message="stopped after step 7")

    (first, _) = world.rows("retrain")
    assert (first.reason, first.message) == ("Interrupted", "PreemptionByScheduler: for a higher priority pod; stopped after step 7")


def test_a_disruption_after_the_commit_is_no_disruption(make_world):
    world = make_world().at("retrain")
    world.settle(disruption="Eviction", state="failed", exit_code=143)

    assert world.live()[0].stage == "label"


def test_duplicate_stale_and_unknown_reports_change_nothing(make_world):
    world = make_world(loop={"maxIterations": 1}).at("retrain", 1)
    before = world.plan()
    (live,) = world.live()
    old = [job for job in world.jobs.values() if job.state != "running"]
    failed = [
        dataclasses.replace(job, state="failed", exit_code=10, result=StageResult(outcome="failed", reason="DataError")) for job in old
    ]
    unknown = [
        dataclasses.replace(old[0], job="ser-stranger"),
        dataclasses.replace(old[0], attempt=7),
        dataclasses.replace(live, attempt=live.attempt + 1, job="ser-later", state="succeeded", exit_code=0),
    ]
    reports = [*old, *failed, *unknown, *old, live]
    world.jobs = {str(index): job for index, job in enumerate(reversed(reports))}

    assert world.plan() == before


def test_the_report_that_says_more_is_believed(make_world):
    world = make_world().at("prepare")
    running = world.live()[0]
    world.end()
    ended = next(iter(world.jobs.values()))
    world.jobs = {"a": dataclasses.replace(ended, result=None), "b": ended, "c": running}
    world.reconcile()

    assert [row.outcome for row in world.rows("prepare")] == ["Done"]


def test_an_adopted_report_stays_a_report(make_world):
    world = make_world().at("prepare")
    world.end("interrupted")
    (job,) = world.jobs.values()
    later = job_name(world.run, StageKey(0, StageKind.PREPARE), 2)
    absent = StageResult(outcome="absent")
    world.jobs[later] = dataclasses.replace(job, attempt=2, job=later, mode="report", exit_code=3, result=absent)
    (action,) = world.reconcile().actions

    assert (action.spec.attempt, action.spec.mode) == (3, "execute")
    assert [row.charged for row in world.rows("prepare")] == [False, False, False]


def test_times_come_from_the_executor_where_it_knows_them(make_world):
    world = make_world(resources={"retrain": {"gpus": 2, "nodes": 3}}).at("retrain")
    finished = world.now + timedelta(minutes=30)
    world.wait(7200)
    (live,) = world.live()
    world.end()
    legs = tuple(dataclasses.replace(leg, end=finished) for leg in live.legs)
    world.jobs[live.job] = dataclasses.replace(world.jobs[live.job], finished_at=finished, legs=legs)
    world.reconcile()

    row = world.rows("retrain")[0]
    assert (row.gpus, row.gpu_hours, world.status.gpu_hours) == (6, 3.0, 3.0)
    assert row.finished_at == "2026-01-31T12:30:01Z"
