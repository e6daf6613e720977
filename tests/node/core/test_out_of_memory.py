"""A training that needs more memory than its pod may take: the kernel kills it."""

import pytest

from node import inputs


@pytest.fixture(scope="module")
def failed(start):
    """The run at its end."""
    run = start("memory", resources=inputs.resources(retrain={"memory": "192Mi"}))
    yield run, run.end()
    run.delete()


def test_a_training_killed_by_the_kernel_is_tried_once_more_with_half_of_the_tokens(failed):
    """Expected: OutOfMemory, charged, twice; the second attempt has half of tokensPerBatch; then Failed, and `why` names the memory."""
    run, status = failed
    first, second = run.rows("retrain")

    assert status["phase"] == "Failed"
    for row in (first, second):
        assert (row["outcome"], row["reason"], row["charged"]) == ("Failed", "OutOfMemory", True)
    assert "256" in first["message"] + second["message"] + status["message"], (first, second, status["message"])
    assert "memory" in run.why()["fix"]
