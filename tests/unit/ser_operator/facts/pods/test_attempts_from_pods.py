"""What Jobs and pods are believed to be, however they are dressed up."""

import copy
from datetime import timedelta

import pytest

from ser_core.api.serrun import SERRun
from ser_core.api.stage import StageResult
from ser_operator.facts.pods.attempts_from_pods import attempts, parse_result
from ser_operator.facts.serruns.read_run import read_run

from ...conftest import START


@pytest.fixture
def run(operator, job) -> SERRun:
    return read_run(operator.cluster.runs["lab", "climb"])


def seen(operator, run):
    return attempts(run, operator.cluster.jobs.values(), list(operator.cluster.pods.values()), START)


def test_a_job_is_the_attempt_that_its_name_says(operator, run, job):
    (attempt,) = seen(operator, run)

    assert (attempt.stage, attempt.attempt, attempt.state, attempt.job) == ("prepare", 1, "running", job["metadata"]["name"])


@pytest.mark.parametrize(
    "garble",
    [
        lambda job: job["metadata"]["ownerReferences"].clear(),
        lambda job: job["metadata"].update(ownerReferences="none"),
        lambda job: job["metadata"]["ownerReferences"][0].update(uid="another"),
        lambda job: job["spec"]["template"]["metadata"]["labels"].update({"ser.dev/attempt": "2"}),
        lambda job: job["spec"]["template"]["metadata"]["labels"].update({"ser.dev/iteration": "💥"}),
        lambda job: job["spec"]["template"]["metadata"].update(labels=None),
        lambda job: job["spec"].update(template=[]),
    ],
)
def test_a_job_that_is_not_surely_ours_is_left_alone(operator, run, job, garble):
    garble(job)

    assert seen(operator, run) == ()


def test_labels_of_the_job_itself_mean_nothing(operator, run, job):
    job["metadata"]["labels"] = {"ser.dev/attempt": "x" * 63, "ser.dev/stage": ""}

    assert len(seen(operator, run)) == 1


@pytest.mark.parametrize("message", [None, 5, "", "Traceback …", "{}", '{"outcome": "done"', "[" * 4000])
def test_a_termination_message_that_is_no_report_is_none(message):
    assert parse_result(message) is None


def test_out_of_memory_and_disruption_are_told_apart(operator, run, job):
    operator.cluster.end(job, 137, reason="OOMKilled")
    (killed,) = seen(operator, run)
    pod = next(iter(operator.cluster.pods.values()))
    why = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
    pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", **why}]
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] = "Error"
    (taken,) = seen(operator, run)

    assert (killed.out_of_memory, killed.disruption, killed.exit_code) == (True, "", 137)
    assert (taken.out_of_memory, taken.disruption, taken.exit_code) == (False, "EvictionByEvictionAPI: Eviction API: evicting", 137)


def test_an_attempt_ends_by_the_clock_of_the_control_plane_whatever_that_of_the_node_says(operator, run, job):
    operator.cluster.end(job, 20)
    pod = next(iter(operator.cluster.pods.values()))
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = "2026-01-31T12:20:00Z"

    assert seen(operator, run)[0].finished_at == START


def rejected(operator, job, reason="UnexpectedAdmissionError", message="Pod was rejected: no healthy devices", **status):
    """The Job's pod as the kubelet leaves it."""
    operator.cluster.end(job, 137)
    pod = next(iter(operator.cluster.pods.values()))
    pod["status"] = {"phase": "Failed", "reason": reason, "message": message, **status}
    pod["spec"]["nodeName"] = "gpu-1"
    return pod


def test_a_pod_that_never_ran_says_why_and_where(operator, run, job):
    rejected(operator, job)
    (attempt,) = seen(operator, run)

    assert (attempt.exit_code, attempt.result, attempt.node) == (None, None, "gpu-1")
    assert (attempt.pod_reason, attempt.pod_message) == ("UnexpectedAdmissionError", "Pod was rejected: no healthy devices")


OWN = 'Usage of EmptyDir volume "work" exceeds the limit "1Gi". '
NODE_FULL = "The node was low on resource: ephemeral-storage. Threshold quantity: 1, available: 0. "


@pytest.mark.parametrize(
    ("message", "over"),
    [
        (OWN, True),
        ('Container stage exceeded its local ephemeral storage limit "1Gi". ', True),
        ("Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ", True),
        (NODE_FULL, False),
    ],
)
def test_a_pod_over_its_own_disk_limit_is_told_from_one_on_a_full_node(operator, run, job, message, over):
    rejected(operator, job, "Evicted", message)

    assert seen(operator, run)[0].over_disk_limit is over


def test_an_eviction_that_the_node_declares_a_disruption_is_none_of_the_pods_own_doing(operator, run, job):
    rejected(operator, job, "Evicted", OWN, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}])

    (attempt,) = seen(operator, run)
    assert (attempt.over_disk_limit, attempt.disruption) == (False, "TerminationByKubelet")


def test_a_container_that_was_gone_after_a_restart_of_its_node_is_told_by_the_kubelets_word(operator, run, job):
    operator.cluster.end(job, 137, reason="ContainerStatusUnknown", message="The container could not be located")

    assert seen(operator, run)[0].pod_reason == "ContainerStatusUnknown"


def test_a_disruption_without_a_message_is_its_reason(operator, run, job):
    operator.cluster.end(job, 137)
    pod = next(iter(operator.cluster.pods.values()))
    pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]

    assert seen(operator, run)[0].disruption == "TerminationByKubelet"


def test_a_job_stopped_by_its_deadline_counts_as_interrupted_though_its_pod_is_gone(operator, run, job):
    job["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}

    (attempt,) = seen(operator, run)

    assert (attempt.state, attempt.exit_code) == ("failed", 143)


@pytest.mark.parametrize("early", ["SuccessCriteriaMet", "FailureTarget"])
def test_a_job_whose_pods_still_end_is_running(operator, run, job, early):
    job["status"] = {"conditions": [{"type": early, "status": "True"}]}

    assert seen(operator, run)[0].state == "running"


def test_of_two_pods_of_an_attempt_the_newer_one_reports(operator, run, job):
    report = StageResult(outcome="interrupted", reason="Interrupted", checkpoint_step=7).model_dump_json(by_alias=True)
    operator.cluster.end(job, 143, report, "Error")
    (first,) = operator.cluster.pods.values()
    older = copy.deepcopy(first)
    older["metadata"] |= {"name": "older", "creationTimestamp": "2026-01-30T00:00:00Z"}
    older["status"]["containerStatuses"][0]["state"]["terminated"] |= {"message": "", "exitCode": 1}
    operator.cluster.pods["older"] = older

    (attempt,) = seen(operator, run)

    assert (attempt.exit_code, attempt.result.checkpoint_step) == (143, 7)


def test_a_pod_that_never_ran_holds_no_gpu(operator, run, job):
    operator.cluster.add_pod(job)

    assert seen(operator, run)[0].started_at == START


def test_the_last_words_of_a_job_that_is_being_deleted_are_heard(operator, run, job):
    last_words = StageResult(outcome="interrupted", checkpoint_step=5).model_dump_json(by_alias=True)
    operator.cluster.end(job, 143, last_words)
    job["status"] = {}
    job["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"

    (attempt,) = seen(operator, run)

    assert (attempt.state, attempt.exit_code, attempt.result.checkpoint_step) == ("failed", 143, 5)


def gang_pod(operator, job, index, code=None, message="", finished=0, **status):
    pod = operator.cluster.add_pod(job, **status)
    del operator.cluster.pods[pod["metadata"]["name"]]
    pod["metadata"]["name"] = f"{job['metadata']['name']}-{index}-abcde"
    pod["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": str(index)}
    if code is not None:
        ended = {"exitCode": code, "message": message, "finishedAt": f"2026-01-31T12:00:{finished:02}Z"}
        pod["status"]["containerStatuses"] = [{"state": {"terminated": ended}}]
    operator.cluster.pods[pod["metadata"]["name"]] = pod


def ended_gang(operator, run, job, *pods):
    for index, pod in enumerate(pods):
        gang_pod(operator, job, index, **pod)
    job["status"] = {"conditions": [{"type": "Failed" if any(pod["code"] for pod in pods) else "Complete", "status": "True"}]}
    (attempt,) = seen(operator, run)
    return attempt


def test_a_failed_job_of_which_only_pods_that_ended_well_are_seen_has_not_ended_with_success(operator, run, job):
    gang_pod(operator, job, 1, code=0)
    job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}

    (attempt,) = seen(operator, run)

    assert (attempt.state, attempt.exit_code) == ("failed", None)


def test_a_gang_reports_what_its_pod_0_does(operator, run, job):
    done = StageResult(outcome="done").model_dump_json(by_alias=True)

    attempt = ended_gang(operator, run, job, {"code": 0, "message": done, "finished": 9}, {"code": 0, "finished": 1})

    assert (attempt.exit_code, attempt.result.outcome) == (0, "done")


def test_whichever_pod_put_the_parts_together_reports(operator, run, job):
    done = StageResult(outcome="done").model_dump_json(by_alias=True)

    assert ended_gang(operator, run, job, {"code": 0}, {"code": 0, "message": done}).result.outcome == "done"


@pytest.mark.parametrize(
    ("codes", "decides"),
    [
        ((1, 137), 137),  # the loss of a peer looks like an error from elsewhere
        ((143, 22), 22),  # the others were asked to stop afterwards
        ((0, 11), 11),
        ((1, 1), 1),
    ],
)
def test_a_gang_fails_as_the_pod_whose_end_explains_the_others(operator, run, job, codes, decides):
    attempt = ended_gang(operator, run, job, *({"code": code, "finished": second} for second, code in enumerate(codes)))

    assert attempt.exit_code == decides


def test_the_eviction_of_any_pod_is_the_gangs(operator, run, job):
    evicted = {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}

    assert ended_gang(operator, run, job, {"code": 1}, {"code": 137, **evicted}).disruption


def interrupted(step):
    return StageResult(outcome="interrupted", reason="Interrupted", checkpoint_step=step).model_dump_json(by_alias=True)


def test_a_deleted_gang_runs_until_its_last_pod_has_ended(operator, run, job):
    job["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    gang_pod(operator, job, 0, phase="Running")
    gang_pod(operator, job, 1, code=143, message=interrupted(5))

    (early,) = seen(operator, run)
    gang_pod(operator, job, 0, code=143, message=interrupted(9))
    (late,) = seen(operator, run)

    assert (early.state, late.state, late.exit_code) == ("running", "failed", 143)


def test_the_newest_checkpoint_that_any_pod_of_a_gang_knows_is_the_gangs(operator, run, job):
    first, second = {"code": 143, "message": interrupted(9), "finished": 3}, {"code": 143, "message": interrupted(5), "finished": 1}

    assert ended_gang(operator, run, job, first, second).result.checkpoint_step == 9


def test_a_replaced_part_counts_as_its_newest_pod_does(operator, run, job):
    gang_pod(operator, job, 1, code=21)
    lost = operator.cluster.pods.pop(f"{job['metadata']['name']}-1-abcde")
    operator.cluster.pods["lost"] = lost
    operator.cluster.now += timedelta(seconds=5)

    attempt = ended_gang(operator, run, job, {"code": 0}, {"code": 0})

    assert attempt.exit_code == 0
