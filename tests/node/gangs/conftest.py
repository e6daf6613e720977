"""Kubernetes' own gang scheduling, which 1.36 has behind gates."""

import pytest

from node.configuration import Flags

_GATES = "--feature-gates=GenericWorkload=true,GangScheduling=true,WorkloadWithJob=true"


@pytest.fixture(scope="session")
def flags() -> Flags:
    """See above."""
    api = "--runtime-config=scheduling.k8s.io/v1alpha2=true"
    return {"apiserver": (_GATES, api), "controller-manager": (_GATES,), "scheduler": (_GATES,)}
