"""Every example is a SERRun."""

from pathlib import Path

import pytest

from ser_core.cli.access.serrun_file import read_serrun

EXAMPLES = sorted(Path("examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_example_loads(path):
    assert read_serrun(path).metadata.name == path.stem


def test_there_are_examples():
    assert {path.name for path in EXAMPLES} >= {"quickstart.yaml", "hh.yaml", "hh-small.yaml"}
