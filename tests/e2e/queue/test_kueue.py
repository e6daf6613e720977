"""Runs in the queues of a real Kueue, with stage doubles: what it admits, refuses and takes back, and what a run says of it.

The stories are told beside each other, each in a namespace with queues of its own.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from controlplane.cluster import Object
from controlplane.faults.home import NODE, Home
from controlplane.faults.plans.queue import queued
from controlplane.faults.scenario import Scenario
from controlplane.kueue import queues
from controlplane.kueue.process import LEFT_ALONE, PODS_READY_SECONDS
from controlplane.kueue.urgent import Urgent
from controlplane.plane.nodes import GPU
from ser_core.cli.views.why_view import Why, explain
from ser_operator.facts.pods.queueing import NO_QUEUE, NOT_SEEN
from ser_operator.facts.serruns.read_run import read_run

pytestmark = pytest.mark.timeout(2400)  # the first test waits for Kueue

AT_ONCE = 3
QUEUE = "lab"
SECONDS = 500
"""Longest wait for what happens at once where a machine has nothing else to do."""
HERE = {"kubernetes.io/hostname": NODE}
STAGES = 5  # prepare, retrain, label, filter, retrain

Story = Callable[[Scenario], None]


# What a run says


def says(reason: str) -> Callable[[Object], bool]:
    return lambda status: any(one["type"] == "Ready" and one["reason"] == reason for one in status.get("conditions", ()))


def why(scenario: Scenario) -> Why:
    return explain(read_run(scenario.run()), (), datetime.now(UTC), scenario.namespace, on_cluster=True)


def live_job(status: Object) -> str:
    (row,) = [row for row in status["stages"] if row["outcome"] == "Running"]
    return str(row["job"])


# What Kueue and its administrator do


def open_queue(scenario: Scenario, name: str = QUEUE, **quota: str) -> None:
    """A queue that leads to the node of the tests."""
    queues.open_queue(scenario.api, scenario.namespace, name, HERE, quota)


def workload(scenario: Scenario, job: str) -> Object:
    """What Kueue keeps of a Job."""
    found = scenario.api.items(queues.workloads(scenario.namespace))
    return next(one for one in found if one["metadata"]["ownerReferences"][0]["name"] == job)


def states(scenario: Scenario, job: str) -> dict[str, str]:
    """Conditions of a Job's Workload."""
    return {one["type"]: one["status"] for one in workload(scenario, job)["status"].get("conditions", ())}


def ends_admitted(scenario: Scenario) -> None:
    """The run completes; Kueue has admitted each of its Jobs, sent what asks for something where the flavor says; nothing was charged."""
    scenario.wait_for_end(SECONDS)
    scenario.check()
    assert len(scenario.jobs()) == STAGES
    for job in scenario.jobs():
        name, template = job["metadata"]["name"], job["spec"]["template"]
        until(lambda name=name: states(scenario, name).get("Finished") == "True")
        assert states(scenario, name)["QuotaReserved"] == "True"
        if template["spec"]["containers"][0]["resources"]:  # what asks for nothing needs no flavor
            assert HERE.items() <= template["spec"]["nodeSelector"].items()
        assert template["metadata"]["labels"]["kueue.x-k8s.io/podset"] == "main"


def suspend_and_resume(scenario: Scenario) -> None:
    scenario.patch({"spec": {"suspend": True}})
    scenario.wait(lambda status: status["phase"] == "Suspended", SECONDS)
    scenario.patch({"spec": {"suspend": False}})


def queues_of_jobs(scenario: Scenario) -> set[str]:
    return {job["metadata"]["labels"][queues.QUEUE_LABEL] for job in scenario.jobs()}


def container_state(scenario: Scenario, job: str, state: str) -> Object:
    """Of the pods of a Job that exist."""
    found = [pod["status"].get("containerStatuses", [{}])[0].get("state", {}).get(state, {}) for pod in scenario.pods(job)]
    return next(filter(None, found), {})


def seconds_between(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def until(holds: Callable[[], object], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not within time"
        time.sleep(0.2)


# The stories


def admitted(scenario: Scenario) -> None:
    open_queue(scenario)
    scenario.apply(queueName=QUEUE, resources={stage: {"cpu": "1"} for stage in ("prepare", "retrain", "label", "filter")})
    ends_admitted(scenario)
    assert queues_of_jobs(scenario) == {QUEUE}


def caught_by_the_default_queue_though_it_names_none(scenario: Scenario) -> None:
    open_queue(scenario, "default")
    scenario.apply()
    ends_admitted(scenario)
    assert queues_of_jobs(scenario) == {"default"}


def caught_though_it_names_no_queue_before_there_is_a_default_one(scenario: Scenario) -> None:
    scenario.apply()
    status = scenario.wait(says("NoQueue"), SECONDS)
    assert status["message"] == f"prepare, attempt 1 waits: {NO_QUEUE.message}"
    open_queue(scenario, "default")
    suspend_and_resume(scenario)
    ends_admitted(scenario)


def waiting_in_a_namespace_that_kueue_leaves_alone(scenario: Scenario) -> None:
    scenario.api.patch(f"/api/v1/namespaces/{scenario.namespace}", {"metadata": {"labels": {LEFT_ALONE: "true"}}})
    open_queue(scenario)
    scenario.apply(queueName=QUEUE)
    scenario.wait(lambda status: status.get("message") == f"prepare, attempt 1 waits: {NOT_SEEN.message}", SECONDS)


def waiting_for_a_queue_that_does_not_exist(scenario: Scenario) -> None:
    scenario.apply(queueName="gpu")
    status = scenario.wait(says("QueueUnusable"), SECONDS)
    assert status["message"] == "prepare, attempt 1 waits: LocalQueue gpu doesn't exist"
    assert (why(scenario).cause, why(scenario).evidence) == (
        "the queue of the stage's Job does not exist or is stopped",
        f"QueueUnusable: {status['message']}",
    )
    open_queue(scenario, "gpu")
    ends_admitted(scenario)


def waiting_for_a_stopped_queue(scenario: Scenario) -> None:
    open_queue(scenario)
    queue = f"{queues.local_queues(scenario.namespace)}/{QUEUE}"
    scenario.api.patch(queue, {"spec": {"stopPolicy": "Hold"}})
    scenario.apply(queueName=QUEUE)
    scenario.wait(lambda status: status.get("message") == "prepare, attempt 1 waits: LocalQueue lab is inactive", SECONDS)
    scenario.api.patch(queue, {"spec": {"stopPolicy": "None"}})
    ends_admitted(scenario)


def out_of_quota_until_it_asks_for_less(scenario: Scenario) -> None:
    open_queue(scenario)
    scenario.apply(queueName=QUEUE, resources={"retrain": {"gpus": 9}})
    status = scenario.wait(lambda status: "insufficient quota for nvidia.com/gpu" in status.get("message", ""), SECONDS)
    assert says("Queued")(status)
    assert "lower resources.retrain: the Job is then made anew" in why(scenario).fix
    scenario.patch({"spec": {"resources": {"retrain": {"gpus": 1}}}})
    ends_admitted(scenario)


def admitted_whole_or_not_at_all_on_several_nodes(scenario: Scenario) -> None:
    open_queue(scenario, **{"cpu": "64", "memory": "256Gi", GPU: "1"})
    scenario.apply(queueName=QUEUE, resources={"retrain": {"nodes": 2, "gpus": 1}})
    status = scenario.wait(lambda status: "insufficient quota for nvidia.com/gpu" in status.get("message", ""), SECONDS)
    assert scenario.pods(live_job(status)) == []
    enough = queues.cluster_queue(scenario.namespace, scenario.namespace, {"cpu": "64", "memory": "256Gi", GPU: "2"})
    scenario.api.patch(f"{queues.CLUSTER_QUEUES}/{scenario.namespace}", enough)
    ends_admitted(scenario)


def taken_back_for_an_urgent_job_and_admitted_again(scenario: Scenario) -> None:
    queued("retrain")(scenario)


def waiting_for_longer_than_its_deadline_in_a_closed_queue(scenario: Scenario) -> None:
    open_queue(scenario)
    queue = f"{queues.local_queues(scenario.namespace)}/{QUEUE}"
    scenario.api.patch(queue, {"spec": {"stopPolicy": "Hold"}})
    scenario.apply(queueName=QUEUE, activeDeadline="1s")
    status = scenario.wait(lambda status: status.get("message") == "prepare, attempt 1 waits: LocalQueue lab is inactive", SECONDS)
    until(lambda: (datetime.now(UTC) - datetime.fromisoformat(status["startedAt"])).total_seconds() > 3)
    scenario.patch({"spec": {"activeDeadline": "2s"}})
    status = scenario.wait(lambda status: status["observedGeneration"] == 2, SECONDS)
    assert (status["admittedSeconds"], status["stages"][0]["outcome"]) == (0, "Running")
    scenario.patch({"spec": {"activeDeadline": "1h"}})
    scenario.api.patch(queue, {"spec": {"stopPolicy": "None"}})
    ends_admitted(scenario)


def charged_for_both_pods_when_one_is_taken_back_though_the_operator_starts_anew(scenario: Scenario) -> None:
    open_queue(scenario, **{"cpu": "64", "memory": "256Gi", GPU: "1"})
    with scenario.hold("retrain") as gate:
        scenario.apply(queueName=QUEUE, resources={"retrain": {"gpus": 1}})
        job = gate.wait_for_pod(SECONDS).labels["job-name"]
        until(lambda: container_state(scenario, job, "running"))
        began = container_state(scenario, job, "running")["startedAt"]
        with Urgent(scenario.api, scenario.kubelet, scenario.namespace, QUEUE, {GPU: "1"}):
            first = scenario.wait(lambda status: status.get("counted"), SECONDS)["counted"]
            scenario.operator.kill()
        assert first["admittedSeconds"] == seconds_between(began, first["to"])
        assert first["gpuHours"] == pytest.approx(first["admittedSeconds"] / 3600, abs=1e-6)
        scenario.operator.start()
        assert gate.wait_for_pod(SECONDS, count=2).labels["job-name"] == job
    status = scenario.wait(lambda status: any(row["job"] == job and row["outcome"] == "Done" for row in status["stages"]), SECONDS)
    (row,) = [row for row in status["stages"] if row["job"] == job]
    last = container_state(scenario, job, "terminated")
    second = seconds_between(last["startedAt"], last["finishedAt"])
    assert row["gpuHours"] == pytest.approx((first["admittedSeconds"] + second) / 3600, abs=1e-5)
    ends_admitted(scenario)


def moved_to_another_queue_with_another_priority_while_suspended(scenario: Scenario) -> None:
    priority = f"low-{scenario.namespace}"
    scenario.api.create(queues.PRIORITIES, queues.priority(priority, 7))
    scenario.apply(queueName="closed", suspend=True)
    open_queue(scenario)
    scenario.wait(lambda status: status.get("phase") == "Suspended", SECONDS)
    scenario.patch({"metadata": {"labels": {queues.PRIORITY_LABEL: priority}}, "spec": {"queueName": QUEUE}})
    scenario.patch({"spec": {"suspend": False}})
    ends_admitted(scenario)
    assert queues_of_jobs(scenario) == {QUEUE}
    assert {workload(scenario, job["metadata"]["name"])["spec"]["priority"] for job in scenario.jobs()} == {7}


def queued_again_and_then_given_up_when_its_pods_never_run(scenario: Scenario) -> None:
    pool = scenario.namespace
    open_queue(scenario)
    scenario.apply(queueName=QUEUE, resources={"retrain": {"nodeSelector": {"pool": pool}}})
    status = scenario.wait(says("PodsReadyTimeout"), PODS_READY_SECONDS + SECONDS)
    assert "Exceeded the PodsReady timeout" in status["message"]
    scenario.wait(says("Unschedulable"), SECONDS)  # it is admitted again
    scenario.wait(says("WorkloadDeactivated"), PODS_READY_SECONDS + SECONDS)
    assert "suspend and resume the run" in why(scenario).fix
    scenario.api.patch(f"/api/v1/nodes/{NODE}", {"metadata": {"labels": {"pool": pool}}})
    suspend_and_resume(scenario)
    ends_admitted(scenario)


STORIES: tuple[Story, ...] = (
    admitted,
    waiting_for_longer_than_its_deadline_in_a_closed_queue,
    charged_for_both_pods_when_one_is_taken_back_though_the_operator_starts_anew,
    moved_to_another_queue_with_another_priority_while_suspended,
    queued_again_and_then_given_up_when_its_pods_never_run,
    caught_by_the_default_queue_though_it_names_none,
    caught_though_it_names_no_queue_before_there_is_a_default_one,
    waiting_in_a_namespace_that_kueue_leaves_alone,
    waiting_for_a_queue_that_does_not_exist,
    waiting_for_a_stopped_queue,
    out_of_quota_until_it_asks_for_less,
    admitted_whole_or_not_at_all_on_several_nodes,
    taken_back_for_an_urgent_job_and_admitted_again,
)


@pytest.fixture(scope="module")
def stories(
    request: pytest.FixtureRequest, queued_place: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """The stories that are asked for, under way."""
    asked = {item.callspec.params["story"] for item in request.session.items if item.module is request.module and hasattr(item, "callspec")}

    def tell(story: Story) -> None:
        with queued_place.scenario(tmp_path_factory.mktemp("story")) as scenario:
            scenario.operator.start()
            story(scenario)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {story.__name__: pool.submit(tell, story) for story in STORIES if story.__name__ in asked}


@pytest.mark.parametrize("story", [story.__name__ for story in STORIES])
def test_a_run_in_a_queue_is(stories: dict[str, Future[None]], story: str) -> None:
    stories[story].result()


def test_the_operator_may_read_what_kueue_says_and_asks_for_nothing_that_it_may_not(
    stories: dict[str, Future[None]], queued_place: Home
) -> None:
    stories["waiting_for_a_queue_that_does_not_exist"].result()

    asked = [event for event in queued_place.plane.audit_events() if event["user"]["username"].endswith(":ser-operator")]

    assert any(event["verb"] == "list" and event["objectRef"]["resource"] == "workloads" for event in asked if "objectRef" in event)
    assert [event for event in asked if event.get("responseStatus", {}).get("code") == 403] == []
