"""Every example is a SERRun, and the quickstart finds what it reads."""

import hashlib
import runpy
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoTokenizer

from ser_core.cli.access.serrun_file import read_serrun

EXAMPLES = sorted(Path("examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_example_loads(path):
    assert read_serrun(path).metadata.name == path.stem


def test_there_are_examples():
    assert {path.name for path in EXAMPLES} >= {"quickstart.yaml", "hh.yaml", "hh-small.yaml"}


def made(folder, monkeypatch):
    """Digests of what `make quickstart` makes before its run, by name."""
    monkeypatch.setattr(sys, "argv", ["quickstart_data.py", str(folder), "--pairs", "40"])
    runpy.run_path("examples/quickstart_data.py", run_name="__main__")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_the_quickstart_called_again_makes_the_same_files_for_its_run(tmp_path, monkeypatch):
    spec = read_serrun(Path("examples/quickstart.yaml")).spec
    first = made(tmp_path, monkeypatch)

    read = [Path(uri.removeprefix("file://")).name for uri in (spec.data.source.uri, spec.reward_model.base, spec.policy.base)]
    assert [name for name in read if not (tmp_path / name).exists()] == []
    assert made(tmp_path, monkeypatch) == first


def test_the_quickstarts_policy_has_a_row_for_every_token(tmp_path, monkeypatch):
    made(tmp_path, monkeypatch)
    policy = tmp_path / "policy"
    assert len(AutoTokenizer.from_pretrained(policy)) == AutoConfig.from_pretrained(policy).vocab_size
