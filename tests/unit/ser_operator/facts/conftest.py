"""A run whose first Job has been made."""

import pytest


@pytest.fixture
def job(operator):
    """That Job."""
    operator.cluster.apply()
    operator.sync()
    operator.reconcile()
    (job,) = operator.cluster.jobs.values()
    return job
