"""A training on two pods, which find each other by the cluster's DNS."""

import pytest

from node import inputs
from node.run import Expected

GPUS = 2


@pytest.fixture(scope="module")
def trained(cluster, start):
    """The run once its seed model is trained, and its pods as they were."""
    cluster.kubelet.add_gpus(GPUS)
    run = start(
        "gang",
        resources=inputs.resources(retrain={"cpu": "500m", "nodes": 2, "gpus": 1}),
        training={"epochs": 3, "learningRate": 0.001, "pairsPerStep": 8, "tokensPerBatch": 512},
    )
    pods = run.at_work("retrain", pods=2)
    yield run, pods, run.ended("retrain", 1)
    run.delete()


def test_two_pods_meet_by_name_and_train_together(trained):
    """Expected: Done at the first attempt; pod 0 has a name below the headless Service, and both ranks began."""
    run, pods, row = trained
    variables = {entry["name"]: entry.get("value") for entry in pods[1]["spec"]["containers"][0]["env"]}

    assert Expected.of(row) == Expected("Done", "", 0, charged=False)
    assert variables["MASTER_ADDR"].endswith(".lab.svc")
    assert [event["rank"] for pod in pods for event in run.events(pod, "started")] == [0, 1]
