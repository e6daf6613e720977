"""What a run says of itself on a real control plane: for what it waits, how its stages end, how far they are, and what saying it costs.

Most of the time is spent waiting for controllers. So the stories of this module are told beside each other, each in a namespace of its own
with an operator of its own, and every test waits for the end of its own story.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from controlplane.cluster import Gate, Object, Outcome, StartedPod
from controlplane.faults.home import NODE, Home
from controlplane.faults.scenario import Scenario
from ser_core.api.serrun import API_VERSION
from ser_core.api.stage import StageResult
from ser_operator.objects.container import PROGRESS_PORT

AT_ONCE = 5
STAGES = 5  # prepare, retrain, label, filter, retrain

Story = Callable[[Home, Scenario], None]
STORIES: dict[str, tuple[Story, dict[str, object]]] = {}


def story(**settings: object) -> Callable[[Story], Callable[[dict[str, Future]], None]]:
    """Make a test of a story; ``settings`` are the operator's."""

    def tell(told: Story) -> Callable[[dict[str, Future]], None]:
        STORIES[told.__name__] = told, settings

        def test(stories: dict[str, Future]) -> None:
            stories[told.__name__].result()

        test.__name__ = test.__qualname__ = told.__name__
        return test

    return tell


@pytest.fixture(scope="module")
def stories(request, place, tmp_path_factory) -> Iterator[dict[str, Future]]:
    """The stories that are asked for, under way."""

    def run(name: str) -> None:
        told, settings = STORIES[name]
        with place.scenario(tmp_path_factory.mktemp("story"), **settings) as scenario:
            scenario.operator.start()
            told(place, scenario)

    asked = [item.name for item in request.session.items if item.module is request.module]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {name: pool.submit(run, name) for name in asked}
    pool.shutdown(cancel_futures=True)


# What a status says


def ready(status: Object) -> str:
    """The reason in the condition Ready, which every run has."""
    return next((one["reason"] for one in status.get("conditions", ()) if one["type"] == "Ready"), "")


def says(reason: str) -> Callable[[Object], bool]:
    return lambda status: ready(status) == reason


def rows(status: Object, stage: str, iteration: int = 0) -> list[Object]:
    """The attempts of a stage."""
    return [row for row in status["stages"] if (row["stage"], row["iteration"]) == (stage, iteration)]


def live_job(status: Object) -> str:
    (row,) = [row for row in status["stages"] if row["outcome"] == "Running"]
    return str(row["job"])


def written(scenario: Scenario, what: str = "patch serruns/status") -> int:
    return Counter(scenario.proxy.writes())[what]


def check_silence(scenario: Scenario, seconds: float) -> None:
    """Nothing is written while nothing changes."""
    time.sleep(0.5)  # the proxy hears of the last answer after us
    before = len(scenario.proxy.calls)
    time.sleep(seconds)
    assert scenario.proxy.calls[before:] == []


# What others do


def quota(scenario: Scenario, resource: str) -> str:
    """A quota that leaves none of a resource; returns its path once the API server acts on it."""
    collection = scenario.collection("resourcequotas")
    scenario.api.create(
        collection, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {resource: "0"}}}
    )
    until(lambda: scenario.api.get(f"{collection}/none").get("status", {}).get("hard"))
    return f"{collection}/none"


def until(holds: Callable[[], object], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not within time"
        time.sleep(0.2)


def patch_job(scenario: Scenario, name: str, spec: Object) -> None:
    scenario.api.patch(f"{scenario.collection('jobs', 'apis/batch/v1')}/{name}", {"spec": spec})


def running(scenario: Scenario, gate: Gate, count: int = 1) -> str:
    """Name of the pod that is held, once Kubernetes sees it run."""
    pod = gate.wait_for_pod(count=count)
    path = f"{scenario.collection('pods')}/{pod.name}"
    until(lambda: scenario.api.get(path)["status"]["phase"] == "Running")
    return pod.name


# For what a run waits


@story()
def test_a_job_that_a_quota_refuses_is_tried_twice_a_minute_and_goes_on_by_itself(place, scenario):
    path = quota(scenario, "count/jobs.batch")
    scenario.apply()
    status = scenario.wait(says("JobRefused"))
    assert "exceeded quota: none, requested: count/jobs.batch=1" in status["message"]
    for number in range(4):
        scenario.patch({"metadata": {"labels": {"poke": str(number)}}})
        time.sleep(0.4)
    assert [(call.what, code) for _, call, code in scenario.proxy.calls if call.what == "create jobs"] == [("create jobs", 403)]
    assert written(scenario) == 1
    scenario.api.delete(path)
    scenario.wait_for_end()
    scenario.check()
    first, second = [moment for moment, call, _ in scenario.proxy.calls if call.what == "create jobs"][:2]
    assert second - first > 29


@story()
def test_a_completed_run_costs_no_requests(place, scenario):
    scenario.apply()
    scenario.wait_for_end()
    time.sleep(2)  # its last events
    before = Counter(scenario.proxy.requests)
    time.sleep(15)
    assert set(Counter(scenario.proxy.requests) - before) <= {"WATCH"}


@story()
def test_a_stage_that_no_node_can_hold_waits_in_the_words_of_the_scheduler(place, scenario):
    pool = scenario.namespace
    scenario.apply(resources={"retrain": {"gpus": 1, "nodeSelector": {"pool": pool}}})
    status = scenario.wait(says("Unschedulable"))
    (pod,) = scenario.pods(live_job(status))
    said = next(one["message"] for one in pod["status"]["conditions"] if one["type"] == "PodScheduled")
    assert "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector" in said
    assert status["message"] == f"retrain of the seed model, attempt 1 waits: {said}"
    check_silence(scenario, 3)
    scenario.api.patch(f"/api/v1/nodes/{NODE}", {"metadata": {"labels": {"pool": pool}}})
    scenario.wait_for_end()
    scenario.check()


@story()
def test_a_stage_that_no_node_can_hold_asks_for_less_and_goes_on(place, scenario):
    scenario.apply(resources={"prepare": {"gpus": 1}, "retrain": {"gpus": 16}})
    status = scenario.wait(says("Unschedulable"))
    first = live_job(status)
    scenario.patch({"spec": {"resources": {"retrain": {"gpus": 1}}}})
    status = scenario.wait(lambda status: any(row["job"] != first for row in rows(status, "retrain")))
    replaced = rows(status, "retrain")[0]
    assert (replaced["outcome"], replaced["charged"]) == ("Interrupted", False)
    scenario.wait_for_end()
    assert scenario.wait(lambda status: status["phase"] == "Completed")["gpuHours"] < 0.1


@story()
def test_a_missing_secret_is_named_by_the_kubelet_and_the_run_goes_on_once_it_is_there(place, scenario):
    scenario.apply(storage={"uri": "s3://bucket/runs", "credentialsSecret": "ser-s3"})
    status = scenario.wait(says("FailedMount"))
    assert status["message"] == (
        'prepare, attempt 1 waits: MountVolume.SetUp failed for volume "storage-credentials" : secret "ser-s3" not found'
    )
    check_silence(scenario, 3)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ser-s3"}, "stringData": {"AWS_ACCESS_KEY_ID": "a"}}
    scenario.api.create(scenario.collection("secrets"), secret)
    scenario.wait_for_end()
    scenario.check()


@story()
def test_a_quota_without_pods_is_told_in_the_words_of_the_api_server_once(place, scenario):
    path = quota(scenario, "count/pods")
    scenario.apply()
    status = scenario.wait(says("FailedCreate"))
    job = live_job(status)
    assert f'pods "{job}" is forbidden: exceeded quota: none, requested: count/pods=1' in status["message"]
    check_silence(scenario, 3)
    scenario.api.delete(path)
    scenario.wait_for_end()
    scenario.check()


@story(image="missing/ser:1")
def test_an_image_that_cannot_be_pulled_is_told_in_the_words_of_the_kubelet(place, scenario):
    scenario.apply()
    status = scenario.wait(says("ErrImagePull"))
    assert status["message"] == 'prepare, attempt 1 waits: failed to pull and unpack image "missing/ser:1": not found'
    check_silence(scenario, 3)


@story()
def test_a_run_waits_for_its_template_and_keeps_the_copy_that_it_began_with(place, scenario):
    templates, memory = scenario.collection("serruntemplates", f"apis/{API_VERSION}"), {"resources": {"retrain": {"memory": "64Mi"}}}
    scenario.apply(templateRef={"name": "team"})
    waiting = scenario.wait(lambda status: any(one["reason"] == "TemplateUnusable" for one in status.get("conditions", ())))
    assert f"namespace {scenario.namespace} holds none of that name" in waiting["message"]
    assert scenario.jobs() == []

    with scenario.hold("retrain"):
        scenario.api.create(templates, {"apiVersion": API_VERSION, "kind": "SERRunTemplate", "metadata": {"name": "team"}, "spec": memory})
        scenario.wait(lambda status: status.get("stage") == "retrain")
        scenario.api.patch(f"{templates}/team", {"spec": {"resources": {"retrain": {"memory": "65Mi"}}}})
    status = scenario.wait_for_end()

    scenario.check()
    assert status["template"] == {"name": "team", "spec": memory}
    trained = [job for job in scenario.jobs() if job["spec"]["template"]["metadata"]["labels"]["ser.dev/stage"] == "retrain"]
    asked = [job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] for job in trained]
    assert asked == ["64Mi", "64Mi"]


# Queues: tests/e2e/queue/test_kueue.py has the rest


@story()
def test_a_run_with_a_queue_waits_in_a_cluster_without_kueue_and_hardly_asks_for_it(place, scenario):
    scenario.apply(queueName="gpus")
    status = scenario.wait(says("QueueUnusable"))
    assert scenario.job(live_job(status))["spec"]["suspend"] is True
    assert ("Stalled", "True") in {(one["type"], one["status"]) for one in status["conditions"]}
    assert scenario.pods(live_job(status)) == []
    assert "Kueue is not installed" in status["message"]
    check_silence(scenario, 3)
    scenario.wait_for_end(tend=lambda: [patch_job(scenario, one["metadata"]["name"], {"suspend": False}) for one in scenario.jobs()])
    scenario.check()
    assert written(scenario, "create jobs") == STAGES


# How stages end


@story()
def test_a_stage_that_is_killed_for_memory_is_charged_and_tried_again_after_a_pause(place, scenario):
    with scenario.hold("prepare") as gate:
        scenario.apply()
        place.kubelet.oom(scenario.namespace, running(scenario, gate))
        status = scenario.wait(says("Pausing"))
    (row,) = rows(status, "prepare")
    assert (row["outcome"], row["reason"], row["exitCode"], row["charged"]) == ("Failed", "OutOfMemory", 21, True)
    assert "after OutOfMemory: it was killed because its memory was used up" in status["message"]
    scenario.wait_for_end()
    scenario.check(charged=range(1, 2))
    first, second = sorted(datetime.fromisoformat(job["metadata"]["creationTimestamp"]) for job in scenario.jobs())[:2]
    assert (second - first).total_seconds() >= 10


@story()
def test_a_stage_that_hangs_is_charged_and_tried_again(place, scenario):
    hung = StageResult(outcome="failed", reason="StageHung", message="no heartbeat for 600 s", checkpoint_step=3)
    answers = iter([Outcome(22, hung.model_dump_json(by_alias=True))])
    place.instead[scenario.namespace, "prepare"] = lambda _pod: next(answers, None)
    scenario.apply()
    status = scenario.wait(says("Pausing"))
    (row,) = rows(status, "prepare")
    assert (row["outcome"], row["reason"], row["exitCode"], row["charged"]) == ("Failed", "StageHung", 22, True)
    assert "after StageHung: no heartbeat for 600 s" in status["message"]
    scenario.wait_for_end()
    scenario.check(charged=range(1, 2))


@story()
def test_unusable_data_end_the_run_at_once_by_name(place, scenario):
    invalid = StageResult(outcome="failed", reason="DataInvalid", message="row 7 has no answers", hint="see docs/data.md")
    place.instead[scenario.namespace, "prepare"] = lambda _pod: Outcome(11, invalid.model_dump_json(by_alias=True))
    scenario.apply()
    status = scenario.wait_for_end()
    assert (status["phase"], ready(status)) == ("Failed", "DataInvalid")
    assert status["message"] == "prepare: row 7 has no answers; see docs/data.md"
    assert written(scenario, "create jobs") == 1


@story()
def test_a_preemption_is_not_charged(place, scenario):
    with scenario.hold("prepare") as gate:
        scenario.apply()
        place.kubelet.mark_disrupted(scenario.namespace, running(scenario, gate))
        gate.wait_for_pod(count=2)
    status = scenario.wait_for_end()
    scenario.check()
    assert [(row["outcome"], row["attempt"]) for row in rows(status, "prepare")] == [("Interrupted", 1), ("Done", 2)]
    assert "Interrupted" in [event["reason"] for event in scenario.events()]


# What a user may do and spend


@story()
def test_a_suspended_run_ends_its_job_in_order_and_goes_on_uncharged(place, scenario):
    saved, begun = threading.Event(), threading.Event()
    last_words = StageResult(outcome="interrupted", reason="Interrupted", checkpoint_step=5).model_dump_json(by_alias=True)

    def save(pod: StartedPod) -> Outcome | None:
        if saved.is_set():
            return None
        begun.set()
        pod.terminating.wait(120)
        saved.wait(120)
        return Outcome(143, last_words)

    place.instead[scenario.namespace, "prepare"] = save
    scenario.apply()
    assert begun.wait(120)
    scenario.patch({"spec": {"suspend": True}})
    status = scenario.wait(says("Stopping"))
    job = scenario.job(live_job(status))
    assert job["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert status["message"] == "stopping prepare, attempt 1: Suspended"
    saved.set()
    status = scenario.wait(says("Suspended"))
    assert status["phase"] == "Suspended"
    (row,) = rows(status, "prepare")
    assert (row["outcome"], row["reason"], row["charged"], row["checkpointStep"]) == ("Interrupted", "Suspended", False, 5)
    until(lambda: scenario.job(row["job"]) is None)
    check_silence(scenario, 2)
    scenario.patch({"spec": {"suspend": False}})
    scenario.wait_for_end()
    scenario.check()


@story()
def test_a_run_fails_at_its_deadline_and_goes_on_with_a_later_one(place, scenario):
    with scenario.hold("prepare"):
        scenario.apply(activeDeadline="3s")
        status = scenario.wait_for_end()
    assert (status["phase"], ready(status)) == ("Failed", "DeadlineExceeded")
    assert status["message"] == "its stages have run for activeDeadline 3s: raise it to go on"
    assert not any(row["charged"] for row in status["stages"])
    scenario.patch({"spec": {"activeDeadline": "1h"}})
    scenario.wait(lambda status: status["phase"] == "Completed")


@story()
def test_a_spent_budget_stops_the_run_until_it_is_raised(place, scenario):
    with scenario.hold("retrain"):
        scenario.apply(budget={"gpuHours": 0.0005}, resources={"retrain": {"gpus": 1}})
        status = scenario.wait(lambda status: status.get("phase") == "BudgetExceeded")
    assert status["message"].endswith("of 0.0005 GPU-hours are spent: raise budget.gpuHours to go on")
    (row,) = rows(status, "retrain")
    assert (row["outcome"], row["reason"], row["charged"]) == ("Interrupted", "BudgetExceeded", False)
    assert 0.0005 <= status["gpuHours"] < 0.005
    scenario.patch({"spec": {"budget": {"gpuHours": 1}}})
    scenario.wait_for_end()
    scenario.check()


# What people see


@story()
def test_kubectl_waits_for_a_run_and_shows_it(place, scenario):
    kubectl = lambda *words: scenario.plane.kubectl(*words, "--namespace", scenario.namespace).stdout  # noqa: E731
    scenario.apply()
    kubectl("wait", "--for=condition=Completed", "--timeout=60s", f"serrun/{scenario.namespace}")
    header, row = (line.split() for line in kubectl("get", "serruns").splitlines())
    assert header == ["NAME", "PHASE", "REASON", "LOOP", "STAGE", "PERCENT", "LEARNING", "BEST", "ACCURACY", "AGE"]
    assert row[:-1] == [scenario.namespace, "Completed", "Completed", "1", "Status1", "1", "0.7"]
    until(lambda: any(event["reason"] == "Completed" for event in scenario.events()))
    told = Counter((event["reason"], event["message"]) for event in scenario.events())
    assert set(told.values()) == {1}
    assert Counter(reason for reason, _ in told) == {"Started": 1, "StageStarted": STAGES, "StageDone": STAGES, "Completed": 1}
    described = kubectl("describe", "serrun", scenario.namespace).splitlines()
    for reason, message in told:
        assert sum(line.split()[:2] == ["Normal", reason] and line.endswith(f"  {message}") for line in described) == 1


@story()
def test_progress_is_shown_once_a_minute(place, scenario):
    place.instead[scenario.namespace, "retrain"] = count_up
    scenario.apply()
    status = scenario.wait(lambda status: status.get("progress"))
    assert (status["stage"], status["progress"]["total"], status["progress"]["unit"]) == ("retrain", 100, "steps")
    assert status["progress"]["percent"] == status["progress"]["step"]
    check_silence(scenario, 5)


def count_up(pod: StartedPod) -> None:
    """Be ten percent further whenever somebody asks, for eight seconds."""
    steps = iter(range(10, 101, 10))

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = {"step": next(steps), "total": 100, "unit": "steps"} if self.path == "/progress" else {}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer((pod.address, PROGRESS_PORT), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pod.terminating.wait(12)
        server.shutdown()


@story()
def test_an_undisturbed_run_writes_its_status_once_a_stage(place, scenario):
    loops = 3
    scenario.apply(loop={"maxIterations": loops})
    scenario.wait_for_end()
    scenario.check()
    stages = 2 + 3 * loops
    assert written(scenario, "create jobs") == stages
    assert written(scenario) <= stages + 2
    assert not [call for _, call, code in scenario.proxy.calls if code >= 300]
