"""Pods leave a silent node after 150 s, not after Kubernetes' five minutes: `test_one_node.SILENT_SECONDS` are too few for that."""

import pytest

from node.machine.configuration import Flags


@pytest.fixture(scope="session")
def flags() -> Flags:
    """See above."""
    return {"apiserver": ("--default-not-ready-toleration-seconds=150", "--default-unreachable-toleration-seconds=150")}
