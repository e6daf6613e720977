"""Every remedy that `ser why` prints has a story that does what it says and sees the run go on."""

import ast
from pathlib import Path

import pytest

from ser_core.api.status import Phase
from ser_core.cli.views.remedies.lookup import BY_EXIT_CODE, DEFECT, REMEDIES, REMEDY_OF
from ser_core.cli.views.remedies.remedy import Then
from ser_core.cli.views.why_view import explain

from ..commands.test_why import NOW, run_of

LOOP, OPERATOR, E2E, INTEGRATION = "tests/unit/loop", "tests/unit/ser_operator/loop", "tests/e2e", "tests/integration"
REOPENED = f"{LOOP}/deciding/test_reopening.py::test_a_raised_reopen_leaves_every_failure"
ANEW = "tests/integration/test_ser_run.py::test_a_run_whose_spec_is_wrong_is_begun_anew"
FOLLOWS = f"{OPERATOR}/test_outdated.py::test_a_waiting_job_is_made_anew_when_it_is_to_ask_for_something_else"
UNCHARGED = f"{LOOP}/deciding/test_retries.py::test_an_interrupted_attempt_is_continued_at_once_and_not_charged"

WORLD = f"{LOOP}/deciding/test_faults.py::test_the_world_never_ends_a_run"
NODE = f"{LOOP}/deciding/test_faults.py::test_after_a_fault_of_the_node_another_one_is_preferred"
WRONG_STORAGE = f"{LOOP}/deciding/test_faults.py::test_wrong_storage_stalls_a_new_run_at_once_and_a_begun_one_only_waits"

STORIES = {
    "Completed": f"{LOOP}/deciding/test_reopening.py::test_a_completed_run_goes_on_when_its_loops_may_be_more",
    "Running": f"{LOOP}/test_chain.py::test_stages_run_in_order_and_the_run_completes",
    "Pausing": f"{LOOP}/deciding/test_retries.py::test_pauses_double",
    "Stopping": f"{LOOP}/test_lifecycle.py::test_suspend_stops_the_live_attempt_until_it_is_gone",
    "Suspended": f"{LOOP}/test_lifecycle.py::test_resuming_continues_with_the_next_attempt_and_charges_nothing",
    "BudgetExceeded": f"{LOOP}/test_lifecycle.py::test_the_budget_stops_the_attempt_that_spends_it_and_then_waits_to_be_raised",
    "DeadlineExceeded": f"{LOOP}/deciding/test_reopening.py::test_a_raised_deadline_leaves_the_failure_of_the_old_one",
    "Interrupted": UNCHARGED,
    "ChangedBeforeStart": FOLLOWS,
    "SerRunEnded": f"{INTEGRATION}/test_ser_run.py::test_an_interrupted_run_continues_to_the_same_result",
    "StoreUnavailable": WORLD,
    "StoreFull": WORLD,
    "StoreAccessDenied": WORLD,
    "BucketNotFound": WRONG_STORAGE,
    "CredentialsMissing": WRONG_STORAGE,
    **dict.fromkeys(("StoreMisaddressed", "StoreNotTrusted", "ClockSkewed", "RequestTooLarge", "StoreRefused"), WRONG_STORAGE),
    "CorruptObject": WORLD,
    "HubUnavailable": WORLD,
    "NodeDiskFull": NODE,
    "UnexpectedAdmissionError": NODE,
    "NodeLost": NODE,
    "DiskLimitExceeded": REOPENED,
    "ResultLost": f"{LOOP}/deciding/test_retries.py::test_a_lost_result_is_first_looked_for",
    "TakenOver": f"{LOOP}/test_taking_over.py::test_what_is_taken_over_is_done_and_told",
    "NotTakenOver": f"{LOOP}/test_taking_over.py::test_what_was_computed_all_the_same_says_why",
    "NotTheLiveAttempt": f"{LOOP}/test_lifecycle.py::test_a_second_process_beside_the_live_attempt_is_stopped",
    "NotAllowed": f"{OPERATOR}/test_reconcile.py::test_what_is_allowed_later_goes_on_once_it_is_reopened",
    "InvalidSpec": f"{OPERATOR}/test_reconcile.py::test_a_spec_that_can_be_read_again_goes_on",
    "SpecUnknownField": f"{OPERATOR}/test_other_versions.py::test_a_field_that_only_a_later_version_knows_holds_the_run_until_that_is_back",
    "TemplateUnusable": f"{OPERATOR}/test_run_templates.py::test_a_missing_template_is_named_until_it_is_there",
    "JobSuspended": "tests/unit/ser_operator/cluster/test_queue_looks.py"
    "::test_without_kueue_a_job_that_somebody_suspends_names_itself_and_goes_on_once_it_is_let_go",
    "NameConflict": f"{OPERATOR}/test_reconcile.py::test_a_foreign_job_with_our_name_is_neither_adopted_nor_deleted",
    "JobRefused": f"{OPERATOR}/test_reconcile.py::test_a_refused_job_is_tried_again_as_soon_as_the_spec_has_changed",
    "NotSupported": f"{OPERATOR}/test_reconcile.py::test_a_stage_that_cannot_be_shared_out_waits_until_it_is_one_process",
    "Queued": f"{OPERATOR}/test_outdated.py::test_a_job_in_a_queue_is_made_anew_too",
    "NoQueue": f"{E2E}/queue/test_kueue.py::caught_though_it_names_no_queue_before_there_is_a_default_one",
    "QueueUnusable": f"{E2E}/queue/test_kueue.py::waiting_for_a_queue_that_does_not_exist",
    "PodsReadyTimeout": f"{E2E}/queue/test_kueue.py::queued_again_and_then_given_up_when_its_pods_never_run",
    "WorkloadDeactivated": f"{E2E}/queue/test_kueue.py::queued_again_and_then_given_up_when_its_pods_never_run",
    "NodeUnreachable": f"{E2E}/runs/test_control_plane.py::test_a_disconnected_node_says_nothing_until_it_is_back",
    "NodeNotReady": f"{E2E}/runs/test_control_plane.py::test_a_disconnected_node_says_nothing_until_it_is_back",
    "Unschedulable": f"{E2E}/runs/test_status.py::test_a_stage_that_no_node_can_hold_asks_for_less_and_goes_on",
    "SchedulingGated": f"{OPERATOR}/test_reconcile.py::test_a_pod_that_is_held_back_is_told_and_goes_on_once_it_is_let_go",
    "ErrImagePull": f"{OPERATOR}/test_outdated.py::test_until_the_first_commit_the_image_is_the_one_that_the_operator_offers",
    "CreateContainerConfigError": f"{E2E}/runs/test_status.py::"
    "test_a_missing_secret_is_named_by_the_kubelet_and_the_run_goes_on_once_it_is_there",
    "FailedCreate": f"{E2E}/runs/test_status.py::test_a_quota_without_pods_is_told_in_the_words_of_the_api_server_once",
    "Preempted": UNCHARGED,
    "OutOfMemory": f"{LOOP}/deciding/test_reopening.py::test_more_memory_or_less_that_needs_it_leaves_a_failure_for_memory",
    "Killed": f"{LOOP}/deciding/test_reopening.py::test_a_process_that_was_killed_mostly_lacked_memory",
    "UnevenShares": f"{LOOP}/deciding/test_reopening.py::test_another_number_of_processes_leaves_a_failure_for_it",
    "WorldSizeChanged": f"{LOOP}/deciding/test_reopening.py::test_another_number_of_processes_leaves_a_failure_for_it",
    "DataNotFound": f"{INTEGRATION}/test_ser_run.py::test_a_failed_run_goes_on_once_its_data_are_repaired",
    "CheckpointIncomplete": "tests/unit/store/stages/test_checkpoints.py::test_a_stage_whose_checkpoints_are_removed_begins_anew",
}
"""By the first reason of a remedy: the test that does what its fix says. The others are told by what follows their fix (`Then`)."""
BY_END = {Then.RETRY: REOPENED, Then.ANEW: ANEW}
"""The cause is removed outside of the run, and then the run is reopened, or made anew."""


def story_of(remedy):
    return STORIES.get(remedy.reasons[0]) if remedy.reasons and remedy.reasons[0] in STORIES else BY_END.get(remedy.then)


ALL = [*REMEDIES, *BY_EXIT_CODE.values(), DEFECT]


@pytest.mark.parametrize("remedy", ALL, ids=lambda remedy: remedy.reasons[0] if remedy.reasons else remedy.cause)
def test_every_remedy_has_a_story(remedy):
    story = story_of(remedy)
    assert story is not None, f"no story does this: {remedy.fix}"
    path, name = story.split("::")
    defined = {node.name for node in ast.walk(ast.parse(Path(path).read_text())) if isinstance(node, ast.FunctionDef)}
    assert name in defined, story


def test_no_story_is_of_a_reason_that_is_gone():
    assert STORIES.keys() <= {remedy.reasons[0] for remedy in REMEDIES}


FAILED = [remedy for remedy in REMEDIES if remedy.then is not Then.ITSELF]


@pytest.mark.parametrize("here", [True, False], ids=["here", "cluster"])
@pytest.mark.parametrize("remedy", ALL, ids=lambda remedy: remedy.reasons[0] if remedy.reasons else remedy.cause)
def test_a_failed_run_is_told_a_command_that_makes_it_go_on(remedy, here):
    reason = remedy.reasons[0] if remedy.reasons else next((f"ExitCode{code}" for code, one in BY_EXIT_CODE.items() if one is remedy), "X")
    run = run_of(Phase.FAILED, reason, "prepare: told")
    fix = explain(run, (), NOW, "hh.yaml" if here else "hh -n lab", on_cluster=not here).fix
    if reason == "Running":
        return  # no run fails for it
    wanted = "ser purge hh.yaml and ser run hh.yaml" if here else "kubectl delete serrun -n lab hh and apply it again"
    then = REMEDY_OF.get(reason, DEFECT).then
    if then is not Then.ANEW:
        start = "then ser run hh.yaml" if then is not Then.RETRY else "ser retry hh.yaml and ser run hh.yaml"
        wanted = start if here else "ser retry hh -n lab"
    if then is Then.CHANGE:
        assert "ser retry" not in fix
        wanted = "then ser run hh.yaml" if here else remedy.fix
    assert wanted in fix
    assert "stays failed" not in fix


STAGES = ("ser_core/data", "ser_core/store", "ser_core/learn", "jobs/ser_jobs/stages")
OF_A_CLUSTER = ("Secret", "pod", "operator", "image", "kubectl", "administrator")


def named_by_the_stages():
    """Every reason that a stage of `ser run` can end with, and more: all names and texts in the code of the stages."""
    for path in (path for folder in STAGES for path in Path(folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield node.id if isinstance(node, ast.Name) else node.value if isinstance(node, ast.Constant) else None


@pytest.mark.parametrize("reason", sorted(set(named_by_the_stages()) & REMEDY_OF.keys(), key=str))
def test_a_run_of_this_machine_is_told_to_change_nothing_that_only_a_cluster_has(reason):
    remedy = REMEDY_OF[reason]
    assert [word for word in OF_A_CLUSTER if word in (remedy.here or remedy.fix)] == []
