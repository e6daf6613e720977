"""A training on two nodes with two processes each: started as a gang, ended as one, and resumed, on a real control plane.

One run goes through it all, since every attempt costs a pause and a start: a rank of the first attempt is killed, one of the second is
frozen, the third trains to the end; the pool is then labelled in parts.
"""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from controlplane.cluster import ProcessKubelet
from controlplane.scenario import Scenario
from controlplane.stage_double import StageDouble

pytestmark = pytest.mark.timeout(600)  # four processes import torch and DeepSpeed, three times

BUCKET, SECRET = "gangs", "ser-s3"
GANG_NODE, OTHER_NODE = "gang-node", "gpu-node"
POD_0 = "batch.kubernetes.io/job-completion-index"


@pytest.fixture(scope="module")
def inputs(s3, tiny_model, pairs_file):
    """The tiny model and the tiny data in a bucket."""
    s3.create_bucket(BUCKET)
    client = s3.client()
    for path in [*tiny_model.iterdir(), pairs_file]:
        client.upload_file(str(path), BUCKET, f"inputs/{'model' if path.parent == tiny_model else 'data'}/{path.name}")
    client.close()
    return {"model": f"s3://{BUCKET}/inputs/model", "data": f"s3://{BUCKET}/inputs/data/{pairs_file.name}"}


@pytest.fixture(scope="module")
def gang_kubelet(control_plane, kubelet, tmp_path_factory):
    """A node whose pods run two processes each, as pods with two GPUs would; their sockets stay on loopback."""
    control_plane.add_node(GANG_NODE, gpus=0)
    kubelet.double = None
    environment = {"SER_PROCESSES": "2", "GLOO_SOCKET_IFNAME": "lo"}
    with ProcessKubelet(control_plane, tmp_path_factory.mktemp("gang-kubelet"), GANG_NODE, image_environment=environment) as running:
        yield running
    control_plane.api().delete(f"/api/v1/nodes/{GANG_NODE}")


class Story:
    """One run, step by step."""

    def __init__(self, scenario, s3):
        self.scenario, self.s3 = scenario, s3

    def attempt(self, number):
        """Wait for an attempt of the first retrain to run; returns its pods, pod 0 first."""

        def running(status):
            row = self.row(status, number)
            pods = self.scenario.pods(row["job"]) if row else []
            return len(pods) == 2 and all(pod["status"].get("podIP") for pod in pods)

        status = self.scenario.wait(running, 90)
        return sorted(self.scenario.pods(self.row(status, number)["job"]), key=lambda pod: pod["metadata"]["annotations"][POD_0])

    def ended(self, number, seconds=120):
        """Wait for the end of that attempt; returns its row."""
        status = self.scenario.wait(lambda status: ended(self.row(status, number)), seconds)
        return self.row(status, number)

    @staticmethod
    def row(status, number):
        rows = status.get("stages", ())
        return next((row for row in rows if (row["stage"], row["iteration"], row["attempt"]) == ("retrain", 0, number)), None)

    def keys(self, part):
        """Keys of the store that contain a text."""
        client = self.s3.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="runs/")
        found = [entry["Key"] for page in pages for entry in page.get("Contents", ()) if part in entry["Key"]]
        client.close()
        return found

    def read(self, key):
        client = self.s3.client()
        content = client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
        client.close()
        return content

    def wait_for_checkpoint(self, seconds=120):
        """Wait until the retrain has saved one; returns its step."""
        (key,) = self.until(lambda: self.keys("/iter-0000/retrain/checkpoints/INDEX.json"), seconds)
        return json.loads(self.read(key))["checkpoints"][0]["step"]

    def events(self, pod, name):
        """What a pod has said under a name."""
        lines = self.scenario.kubelet.logs("gang", pod["metadata"]["name"]).splitlines()
        return [json.loads(line) for line in lines if f'"event": "{name}"' in line]

    @staticmethod
    def until(found, seconds=120):
        deadline = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < deadline
            time.sleep(0.3)
        return value


def ended(row):
    return row is not None and row["outcome"] != "Running"


def rank_process(pod, rank, seconds=30):
    """Process id of a rank of a pod, which a real node would hide in a container."""
    wanted = {f"POD_IP={pod['status']['podIP']}".encode(), f"RANK={rank}".encode()}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdecimal() and wanted <= set((folder / "environ").read_bytes().split(b"\0")):
                    return int(folder.name)
            except OSError:
                continue
        time.sleep(0.1)
    raise AssertionError(f"rank {rank} does not run")


@pytest.fixture(scope="module")
def story(control_plane, crd, gang_kubelet, s3, inputs, tmp_path_factory):
    """The run after all of it, with what was seen on the way."""
    control_plane.api().create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gang"}})
    scenario = Scenario(
        control_plane, gang_kubelet, "gang", tmp_path_factory.mktemp("operator"), StageDouble(), hang_seconds=8, silent_seconds=120
    )
    literals = [f"--from-literal={key}={value}" for key, value in s3.credentials.items()]
    control_plane.kubectl("create", "secret", "generic", SECRET, "--namespace", "gang", *literals)
    together = {"cpu": "1", "nodes": 2, "nodeSelector": {"kubernetes.io/hostname": GANG_NODE}}
    alone = {"cpu": "1", "nodeSelector": {"kubernetes.io/hostname": OTHER_NODE}}
    with scenario:
        scenario.operator.start()
        scenario.apply(
            rewardModel={"base": inputs["model"], "maxLength": 32, "precision": "fp32"},
            data={"source": {"uri": inputs["data"], "seedFraction": 0.3, "heldoutFraction": 0.2}},
            training={"epochs": 100, "learningRate": 0.001, "pairsPerStep": 4, "tokensPerBatch": 128},
            loop={"maxIterations": 1, "rule": "paper", "thresholds": {"minSamples": 1}},
            resources={"prepare": alone, "filter": alone, "retrain": together, "label": together},
            storage={"uri": f"s3://{BUCKET}/runs", "endpoint": s3.endpoint, "credentialsSecret": SECRET},
        )
        told = Story(scenario, s3)

        told.first = told.attempt(1)
        told.checkpoint = told.wait_for_checkpoint()
        os.kill(rank_process(told.first[1], 3), signal.SIGKILL)
        told.killed = told.ended(1)

        told.second = told.attempt(2)
        told.until(lambda: len(told.events(told.second[0], "progress")) > 5)  # so it steps
        os.kill(rank_process(told.second[0], 1), signal.SIGSTOP)
        told.frozen = told.ended(2, 200)

        told.third = told.attempt(3)
        told.done = told.ended(3, 200)
        scenario.wait(lambda status: any(row["stage"] == "label" and ended(row) for row in status["stages"]), 120)
        told.status = scenario.status()
        told.defects = scenario.operator.defects()
        yield told


def test_a_gang_is_two_pods_that_meet_by_name(story):
    service = story.scenario.api.items(story.scenario.collection("services"))[0]
    variables = {entry["name"]: entry.get("value") for entry in story.first[1]["spec"]["containers"][0]["env"]}

    assert [pod["metadata"]["annotations"][POD_0] for pod in story.first] == ["0", "1"]
    assert variables["MASTER_ADDR"] == ".".join([story.first[0]["spec"]["hostname"], service["metadata"]["name"], "gang", "svc"])
    assert service["spec"]["clusterIP"] == "None"


def test_a_killed_rank_ends_the_attempt(story):
    assert (story.killed["outcome"], story.killed["exitCode"]) == ("Failed", 137)
    assert story.killed["charged"]


def test_the_next_attempt_goes_on_from_the_checkpoint(story):
    resumed = [event["step"] for event in story.events(story.second[0], "resumed")]

    assert len(resumed) == 2
    assert min(resumed) >= story.checkpoint  # a newer one may have been saved before the rank was killed


def test_a_frozen_rank_is_a_hang_that_is_told_by_its_rank(story):
    assert (story.frozen["exitCode"], story.frozen["reason"]) == (22, "StageHung")
    assert "rank 1 (stopped by SIGSTOP) showed no sign of life" in story.frozen["message"]


def test_the_stacks_of_a_hung_gang_are_in_the_store(story):
    stacks = {key.rsplit("/", 1)[1]: story.read(key) for key in story.keys("/iter-0000/retrain/attempt-2") if "stacks-rank" in key}

    assert "is stopped (SIGSTOP)" in stacks["stacks-rank-0001.txt"]
    assert "training.py" in stacks["stacks-rank-0000.txt"]


def test_a_gang_trains_to_its_end_and_reports_once(story):
    assert story.done["outcome"] == "Done"
    assert len(story.keys("/iter-0000/retrain/MANIFEST.json")) == 1


def test_the_pool_is_labelled_in_parts_by_all_processes(story):
    (row,) = [row for row in story.status["stages"] if row["stage"] == "label"]

    assert row["outcome"] == "Done"
    assert len(story.keys("/iter-0001/label/MANIFEST.json")) == 1


def test_the_operator_had_no_defect_on_the_way(story):
    assert story.defects == []
