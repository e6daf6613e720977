"""Pods leave a silent node after seconds, not after Kubernetes' five minutes."""

import pytest

from node.configuration import Flags


@pytest.fixture(scope="session")
def flags() -> Flags:
    """See above."""
    return {"apiserver": ("--default-not-ready-toleration-seconds=20", "--default-unreachable-toleration-seconds=20")}
