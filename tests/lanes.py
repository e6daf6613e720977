"""Where a machine lacks what some tests need: they are skipped, unless `.ci/run` has asked for them."""

import os
from typing import NoReturn

import pytest

REQUIRED = "SER_NODE_LANE"
"""``required``: a machine that cannot run these tests is a failure."""


def required() -> bool:
    """Whether the tests must run here."""
    return os.environ.get(REQUIRED) == "required"


def cannot_run(reason: str) -> NoReturn:
    """Skip the test that asks, or fail it where it is required.

    Args:
        reason: What is missing, with the command that brings it.
    """
    if required():
        pytest.fail(reason)
    pytest.skip(f"{reason}; .ci/run runs it")
