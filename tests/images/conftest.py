"""Tests that build ask for `can_build`."""

import os

import pytest

from images.builder import obstacle


@pytest.fixture(scope="session")
def can_build():
    """Skips where images cannot be built, and fails where that must not be: .ci/run installs what it takes."""
    if reason := obstacle():
        if os.environ.get("SER_NODE_LANE") == "required":
            pytest.fail(reason)
        pytest.skip(f"{reason}; .ci/run runs it")
