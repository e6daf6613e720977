"""Tests that build ask for `can_build`."""

import pytest
from lanes import cannot_run

from images.builder import obstacle


@pytest.fixture(scope="session")
def can_build():
    """Skips where images cannot be built, and fails where that must not be: .ci/run installs what it takes."""
    if reason := obstacle():
        cannot_run(reason)
