"""The stage image is not where the chart's values say. Last of all, since the operator is upgraded to those values."""

import pytest

from node import images, release

NOWHERE = "127.0.0.1:5000"
"""A registry that nobody serves: it refuses at once."""


@pytest.fixture(scope="module")
def waiting(start, follow):
    """The run once it says for what it waits."""
    release.upgrade(follow, NOWHERE)
    run = start("unpulled")
    status = run.until(lambda: found if "pull" in (found := run.status()).get("message", "") else None)
    yield run, status
    run.delete()
    release.upgrade(follow, images.REGISTRY)


def test_a_run_whose_image_cannot_be_pulled_says_so_and_waits(waiting):
    """Expected: no attempt ends, nothing is charged; status and `why` have the registry's own words, and `why` a remedy."""
    run, status = waiting
    (row,) = run.rows("prepare")
    why = run.why()

    assert (row["outcome"], row.get("charged", False)) == ("Running", False)
    assert NOWHERE in status["message"]
    assert why["cause"] == "the node cannot pull the stage image"
    assert "connection refused" in why["evidence"]
