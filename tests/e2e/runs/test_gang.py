"""Trainings on two pods, started as gangs and ended as ones, on a real control plane.

One run goes through it all, since every attempt costs a start. Its first retrain is suspended in its midst, and resumed with fewer GPUs;
then one of its processes is killed, then one is frozen. The pool is labelled in parts. The policy's stage is preempted by a pod that is
worth more, then only half of it can be scheduled, then there is room again.
"""

import os
import signal
import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest
from e2e.runs.gang_story import GangStory, process_of, row_of

from controlplane.cluster import ProcessKubelet
from controlplane.faults.scenario import Scenario
from controlplane.faults.stage_double import StageDouble
from ser_core.cli.views.why_view import explain
from ser_operator.facts.serruns.read_run import read_run
from ser_operator.objects.container import PROGRESS_PORT

pytestmark = pytest.mark.timeout(1500)  # the first test waits for the whole run

BUCKET, NAMESPACE, SECRET, NODE = "gangs", "gang", "ser-s3", "gang-node"
ALONE = {"cpu": "1", "nodeSelector": {"kubernetes.io/hostname": NODE}}
TOGETHER = {**ALONE, "nodes": 2, "gpus": 1}


@pytest.fixture(scope="module")
def inputs(s3, tiny_model, qwen, pairs_file):
    """Reward model, policy and data in a bucket."""
    s3.create_bucket(BUCKET)
    client = s3.client()
    client.upload_file(str(pairs_file), BUCKET, "pairs.jsonl")
    for name, folder in (("model", tiny_model), ("policy", qwen)):
        for path in folder.iterdir():
            client.upload_file(str(path), BUCKET, f"{name}/{path.name}")
    client.close()


@pytest.fixture(scope="module")
def gang_kubelet(control_plane, tmp_path_factory):
    """A node of its own, with four GPUs; sockets of its pods stay on loopback."""
    control_plane.add_node(NODE, gpus=4)
    environment = {"GLOO_SOCKET_IFNAME": "lo"}
    with ProcessKubelet(control_plane, tmp_path_factory.mktemp("gang-kubelet"), NODE, image_environment=environment, warm=True) as running:
        yield running
    control_plane.api().delete(f"/api/v1/nodes/{NODE}")


@pytest.fixture(scope="module")
def story(control_plane, crd, gang_kubelet, s3, inputs, tmp_path_factory):
    """The run after all of it, with what was seen on the way."""
    control_plane.api().create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    literals = [f"--from-literal={key}={value}" for key, value in s3.credentials.items()]
    control_plane.kubectl("create", "secret", "generic", SECRET, "--namespace", NAMESPACE, *literals)
    settings = {"hang_seconds": 6, "rendezvous_seconds": 6}
    scenario = Scenario(control_plane, gang_kubelet, NAMESPACE, tmp_path_factory.mktemp("operator"), StageDouble(), **settings)
    with scenario:
        scenario.operator.start()
        scenario.apply(
            rewardModel={"base": f"s3://{BUCKET}/model", "maxLength": 32, "precision": "fp32"},
            data={"source": {"uri": f"s3://{BUCKET}/pairs.jsonl", "seedFraction": 0.3, "heldoutFraction": 0.2}},
            training={"epochs": 45, "learningRate": 0.001, "pairsPerStep": 4, "tokensPerBatch": 128},
            loop={"maxIterations": 1, "rule": "paper", "thresholds": {"minSamples": 10_000}},  # the loop ends before its retrain
            policy={"base": f"s3://{BUCKET}/policy", "steps": 24, "rolloutsPerStep": 8, "promptTokens": 40, "answerTokens": 8},
            resources={"prepare": ALONE, "filter": ALONE, "retrain": {**TOGETHER, "gpus": 2}, "label": TOGETHER, "ppo": TOGETHER},
            storage={"uri": f"s3://{BUCKET}/runs", "endpoint": s3.endpoint, "credentialsSecret": SECRET},
        )
        told = GangStory(scenario, s3, BUCKET, NODE)
        suspend_and_resume(told)
        kill_and_freeze(told)
        preempt(told)
        told.status = scenario.wait_for_end(120)
        told.defects = scenario.operator.defects()
        yield told


def suspend_and_resume(told):
    told.first = told.running("retrain", 1)
    told.scenario.patch({"spec": {"suspend": True}})
    told.scenario.wait(lambda status: status["phase"] == "Suspended")
    told.suspended, told.gpus_while_suspended = told.scenario.run(), told.gpus_in_use()
    told.jobs_while_suspended = [job["metadata"]["name"] for job in told.scenario.jobs()]
    told.last_of_first = told.last_seen(told.first)
    told.scenario.patch({"spec": {"suspend": False, "resources": {"retrain": {"gpus": 1}}}})


def kill_and_freeze(told):
    told.second = told.running("retrain", 2)
    os.kill(process_of(told.second[1], 1), signal.SIGKILL)
    told.killed = told.ended("retrain", 2)
    told.third = told.running("retrain", 3)
    os.kill(process_of(told.third[1], 1), signal.SIGSTOP)
    told.frozen = told.ended("retrain", 3)
    told.trained = told.ended("retrain", 4)


def preempt(told):
    scenario = told.scenario
    aligning = told.running("ppo", 1)
    told.need_gpus_urgently(3)
    told.ended("ppo", 1)
    told.last_of_preempted = told.last_seen(aligning)
    scenario.wait(lambda status: "Insufficient nvidia.com/gpu" in status["message"])
    told.half_scheduled = scenario.run()
    told.gave_up = told.ended("ppo", 2)
    told.after_giving_up, told.gpus_after_giving_up = scenario.run(), told.gpus_in_use()
    told.need_gpus_no_more()
    told.aligned = told.running("ppo", 3)
    told.pages = [page(pod) for pod in told.aligned]


def page(pod):
    """The metrics of a pod; None when it serves none."""
    try:
        with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{PROGRESS_PORT}/metrics", timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.URLError:
        return None


def why(run):
    """What `ser why` says of a run as it was."""
    return explain(read_run(run), (), datetime.now(UTC), NAMESPACE, on_cluster=True)


def exit_codes(pods):
    return [pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] for pod in pods]


def test_a_gang_is_pods_that_meet_by_name(story):
    service = story.scenario.api.items(story.scenario.collection("services"))[0]
    variables = {entry["name"]: entry.get("value") for entry in story.first[1]["spec"]["containers"][0]["env"]}

    assert variables["MASTER_ADDR"] == ".".join([story.first[0]["spec"]["hostname"], service["metadata"]["name"], NAMESPACE, "svc"])
    assert service["spec"]["clusterIP"] == "None"
    assert sorted(event["rank"] for pod in story.first for event in story.events(pod, "started")) == [0, 1, 2, 3]


def test_suspending_ends_every_pod_of_a_gang_after_a_checkpoint_and_frees_its_gpus(story):
    row = row_of(story.suspended["status"], "retrain", 1)

    assert exit_codes(story.last_of_first) == [143, 143]
    assert (row["outcome"], row["reason"], row["exitCode"], row.get("charged", False)) == ("Interrupted", "Suspended", 143, False)
    assert row["checkpointStep"] > 0
    assert row["job"] not in story.jobs_while_suspended
    assert story.gpus_while_suspended == 0
    assert why(story.suspended).cause == "somebody suspended the run"


def test_a_resumed_gang_goes_on_from_the_checkpoint_with_other_gpus(story):
    step = row_of(story.suspended["status"], "retrain", 1)["checkpointStep"]

    assert story.resumed_at(story.second) == [step, step]


def test_a_killed_process_ends_the_attempt(story):
    assert (story.killed["outcome"], story.killed["exitCode"], story.killed["charged"]) == ("Failed", 137, True)


def test_a_frozen_process_is_a_hang_that_is_told_by_its_rank(story):
    stacks = {key.rsplit("/", 1)[1]: story.read(key) for key in story.keys("/iter-0000/retrain/attempt-3") if "stacks-rank" in key}

    assert (story.frozen["exitCode"], story.frozen["reason"]) == (22, "StageHung")
    assert "rank 1 (stopped by SIGSTOP) showed no sign of life" in story.frozen["message"]
    assert "is stopped (SIGSTOP)" in stacks["stacks-rank-0001.txt"]


def test_a_preempted_pod_ends_its_gang_at_no_charge(story):
    conditions = [one for pod in story.last_of_preempted for one in pod["status"]["conditions"] if one["type"] == "DisruptionTarget"]
    row = row_of(story.half_scheduled["status"], "ppo", 1)

    assert [one["reason"] for one in conditions] == ["PreemptionByScheduler"]
    assert exit_codes(story.last_of_preempted) == [143, 143]
    assert (row["outcome"], row.get("charged", False)) == ("Interrupted", False)
    assert row["checkpointStep"] > 0


def test_a_gang_of_which_a_part_has_no_room_says_so(story):
    assert "0/2 nodes are available" in story.half_scheduled["status"]["message"]
    assert why(story.half_scheduled).cause == "no node can take the stage's pod"


def test_a_gang_that_cannot_meet_gives_its_gpus_back_and_is_charged(story):
    told = why(story.after_giving_up)

    assert (story.gave_up["exitCode"], story.gave_up["reason"], story.gave_up["charged"]) == (23, "RendezvousTimeout", True)
    assert "waited 6 s for pod" in story.after_giving_up["status"]["message"]
    assert story.gpus_after_giving_up == 3  # those of the urgent pod
    assert told.cause.startswith("not all processes of a stage met in time")


def test_a_preempted_gang_goes_on_from_its_checkpoint_once_there_is_room(story):
    step = row_of(story.half_scheduled["status"], "ppo", 1)["checkpointStep"]

    assert story.resumed_at(story.aligned) == [step, step]


def test_metrics_come_from_the_first_process(story):
    assert "ser_stage_" in story.pages[0]
    assert story.pages[1] is None


def test_every_stage_ends_once(story):
    stages = ["iter-0000/prepare", "iter-0000/retrain", "iter-0001/label", "iter-0001/filter", "iter-0000/ppo"]

    assert story.status["phase"] == "Completed"
    assert [len(story.keys(f"/{stage}/MANIFEST.json")) for stage in stages] == [1] * len(stages)
    assert len(story.keys("/MANIFEST.json")) == len(stages)
    assert story.status["policy"]["steps"] == 24


def test_the_operator_had_no_defect_on_the_way(story):
    assert story.defects == []
