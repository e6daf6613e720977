"""A real training that Kueue takes back in its midst for somebody else's urgent Job, and that goes on from its checkpoint."""

import json
import time

import pytest

from controlplane.cluster import ProcessKubelet
from controlplane.faults.scenario import Scenario
from controlplane.faults.stage_double import StageDouble
from controlplane.kueue import queues
from controlplane.kueue.urgent import Urgent

pytestmark = pytest.mark.timeout(1500)

BUCKET, NAMESPACE, SECRET, NODE, QUEUE = "queued", "queued", "ser-s3", "training-node", "lab"
SECONDS = 400
"""Longest wait for what takes some seconds where a machine has nothing else to do."""
STEPS = 3
"""From the second step on the next one is due (`ser_jobs.silence`)."""


@pytest.fixture(scope="module")
def inputs(s3, tiny_model, pairs_file):
    """Model and data in a bucket."""
    s3.create_bucket(BUCKET)
    client = s3.client()
    client.upload_file(str(pairs_file), BUCKET, "pairs.jsonl")
    for path in tiny_model.iterdir():
        client.upload_file(str(path), BUCKET, f"model/{path.name}")
    client.close()


@pytest.fixture(scope="module")
def kubelet(queued_place, tmp_path_factory):
    """A node of its own, whose pods are processes."""
    plane = queued_place.plane
    plane.add_node(NODE)
    with ProcessKubelet(plane, tmp_path_factory.mktemp("training-kubelet"), NODE) as running:
        yield running
    plane.api().delete(f"/api/v1/nodes/{NODE}")


@pytest.fixture(scope="module")
def told(queued_place, kubelet, s3, inputs, tmp_path_factory):
    """The run after it, with what was seen on the way."""
    plane = queued_place.plane
    plane.api().create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    literals = [f"--from-literal={key}={value}" for key, value in s3.credentials.items()]
    plane.kubectl("create", "secret", "generic", SECRET, "--namespace", NAMESPACE, *literals)
    queues.open_queue(plane.api(), NAMESPACE, QUEUE, {"kubernetes.io/hostname": NODE}, {"cpu": "1"})
    with Scenario(plane, kubelet, NAMESPACE, tmp_path_factory.mktemp("operator"), StageDouble()) as scenario:
        scenario.operator.start()
        scenario.apply(
            rewardModel={"base": f"s3://{BUCKET}/model", "maxLength": 32, "precision": "fp32"},
            data={"source": {"uri": f"s3://{BUCKET}/pairs.jsonl", "seedFraction": 0.3, "heldoutFraction": 0.2}},
            training={"epochs": 60, "learningRate": 0.001, "pairsPerStep": 4, "tokensPerBatch": 128},
            loop={"maxIterations": 1, "rule": "paper", "thresholds": {"minSamples": 10_000}},  # the loop ends before its retrain
            resources={stage: {"cpu": "1"} for stage in ("prepare", "label", "filter", "retrain")},
            storage={"uri": f"s3://{BUCKET}/runs", "endpoint": s3.endpoint, "credentialsSecret": SECRET},
            queueName=QUEUE,
        )
        story = Preemption(scenario)
        story.tell()
        yield story


class Preemption:
    """What happens to the run's first training."""

    def __init__(self, scenario):
        self.scenario = scenario

    def tell(self):
        self.first = self.training(others=())
        with Urgent(self.scenario.api, self.scenario.kubelet, NAMESPACE, QUEUE, {"cpu": "1"}):
            self.waiting = self.scenario.wait(lambda status: "Preempted" in status["message"], SECONDS)
        self.second = self.training(others=[self.first])
        self.status = self.scenario.wait_for_end(SECONDS)

    def training(self, others):
        """Name of the pod that trains and is none of ``others``, once it has made some steps."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for pod in self.scenario.api.items(self.scenario.collection("pods"), labelSelector="ser.dev/stage=retrain"):
                name = pod["metadata"]["name"]
                if name not in others and len({event["step"] for event in self.events(name, "progress")}) > STEPS:
                    return name
            time.sleep(0.2)
        raise AssertionError("no pod trains")

    def events(self, pod, name):
        """What a pod has said under a name."""
        try:
            lines = self.scenario.kubelet.logs(NAMESPACE, pod).splitlines()
        except KeyError:  # it is not bound yet
            return []
        return [json.loads(line) for line in lines if f'"event": "{name}"' in line]


def test_what_takes_it_back_stands_in_the_status(told):
    assert told.waiting["message"].startswith(
        "retrain of the seed model, attempt 1 waits: its queue has not admitted it: Preempted to accommodate a workload"
    )


def test_it_saves_a_checkpoint_and_goes_on_from_there(told):
    (resumed,) = told.events(told.second, "resumed")
    before, after = ([event["step"] for event in told.events(pod, "progress")] for pod in (told.first, told.second))

    assert resumed["step"] > 0
    assert min(after) >= max(before)


def test_nothing_is_charged_and_no_other_attempt_is_made(told):
    rows = [row for row in told.status["stages"] if (row["stage"], row["iteration"]) == ("retrain", 0)]

    assert told.status["phase"] == "Completed"
    assert [(row["attempt"], row["outcome"], row.get("charged", False)) for row in rows] == [(1, "Done", False)]
    assert told.scenario.operator.defects() == []
