"""Two trainings of two GPUs each, on a node of three: never does one wait with half of its GPUs for the other."""

import pytest

from node import inputs

GPUS = 3


def bound(run, stage="retrain"):
    """Pods of a stage that have a node, and have not ended."""
    pods = run.pods(**{"ser.dev/stage": stage})
    return [pod for pod in pods if pod["spec"].get("nodeName") and pod["status"]["phase"] in ("Pending", "Running")]


@pytest.fixture(scope="module")
def story(cluster, start):
    """How many pods of each had a node, from the moment at which one gang has its GPUs until the other has them."""
    cluster.kubelet.add_gpus(GPUS)
    resources = inputs.resources(retrain={"cpu": "300m", "nodes": 2, "gpus": 1})
    training = {"epochs": 3, "learningRate": 0.001, "pairsPerStep": 8, "tokensPerBatch": 512}
    runs = [start(name, resources=resources, training=training) for name in ("gang-a", "gang-b")]
    first = runs[0].until(lambda: next((run for run in runs if len(bound(run)) == 2), None))
    (second,) = [run for run in runs if run is not first]
    second.until(lambda: second.pods(**{"ser.dev/stage": "retrain"}))
    seen = []

    def first_has_ended():
        held = len(bound(second))
        left = len(bound(first))
        if left == 2:  # once the first of its pods has ended, two GPUs are free and the second gang fits
            seen.append(held)
        return not left

    first.until(first_has_ended)
    rows = [run.ended("retrain", 1) for run in (first, second)]
    yield seen, rows
    for run in runs:
        run.delete()


def test_a_gang_that_does_not_fit_holds_no_gpu(story):
    """Expected: while the first gang holds two of three GPUs, the second holds none of them."""
    seen, _ = story
    assert seen
    assert set(seen) == {0}


def test_both_gangs_are_trained_one_after_the_other(story):
    """Expected: both Done, each at its first attempt."""
    _, rows = story
    assert [(row["outcome"], row["attempt"]) for row in rows] == [("Done", 1), ("Done", 1)]
