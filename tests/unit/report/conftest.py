"""Ledger and evidence of the stored run."""

import pytest

from ser_core.report.evidence import read_evidence
from ser_core.report.ledger import read_ledger


@pytest.fixture(scope="session")
def ledger(stored_run):
    return read_ledger(stored_run.store, stored_run.run)


@pytest.fixture(scope="session")
def evidence(stored_run, ledger, tmp_path_factory):
    return read_evidence(stored_run.store, ledger, tmp_path_factory.mktemp("evidence"))
