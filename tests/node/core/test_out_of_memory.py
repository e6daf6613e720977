"""A training that needs more memory than its pod may take: the kernel kills it."""

import json

import pytest

from node import inputs
from node.run import Expected


@pytest.fixture(scope="module")
def failed(start):
    """The run at its end."""
    run = start("memory", resources=inputs.resources(retrain={"memory": "192Mi"}))
    yield run, run.end()
    run.delete()


def tokens(run, attempt):
    """The token budget that an attempt was given."""
    (pod,) = run.pods(**{"ser.dev/stage": "retrain", "ser.dev/attempt": str(attempt)})
    given = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
    return json.loads(given["SER_STAGE"])["spec"]["training"]["tokensPerBatch"]


def test_a_training_killed_by_the_kernel_is_tried_once_more_with_half_of_the_tokens(failed):
    """Expected: OutOfMemory, exit 21, charged, twice; the second attempt has half of tokensPerBatch; then Failed, and `why` names the
    memory."""
    run, status = failed

    assert status["phase"] == "Failed"
    assert [Expected.of(row) for row in run.rows("retrain")] == [Expected("Failed", "OutOfMemory", 21, charged=True)] * 2
    assert [tokens(run, attempt) for attempt in (1, 2)] == [512, 256]
    assert "resources.retrain.memory" in run.why()["fix"]
