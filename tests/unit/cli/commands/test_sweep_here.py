"""`ser sweep` on this machine: what it shows and how it ends when runs fail."""

import json
import signal

import pytest
import yaml

from ser_core.cli.access.sweeps.runs import Ended, LocalRuns
from ser_core.sweep.results import RunResult


class FirstFails(LocalRuns):
    """Runs that end at once, the first with exit code 21."""

    def start(self, number, name, file, document):
        self._live[number] = name
        return "started"

    def ended(self):
        over, self._live = list(self._live), {}
        return [Ended(number, "Completed" if number else "exit code 21", 0 if number else 21) for number in over]


@pytest.fixture
def sweep(ser, stored_run, tmp_path, monkeypatch):
    """Sweeps two rules."""
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.LocalRuns", FirstFails)
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.open_run", lambda file, _: file)
    result = lambda file, arm: None if "paper" in arm else RunResult(file, arm, 0, {"p0": True}, 0.5, {})  # noqa: E731
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.read_result", result)
    return lambda: ser("sweep", stored_run.file, "--set", "loop.rule=paper,calibrated", "--folder", tmp_path)


def test_the_others_are_shown_when_the_baseline_has_failed(sweep):
    ended = sweep()
    told = " ".join(ended.out.split())
    assert ended.code == 21, ended.err
    assert "1 loop.rule=calibrated" in told and "missing: small-paper" in told
    assert "not compared: loop.rule=calibrated, since the baseline has no finished run yet" in told


@pytest.fixture
def heard():
    """Ctrl-C is heard, also by tests in the background of a shell, which has it ignored there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_sweep_that_reads_its_results(sweep, heard, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.read_result", lambda *_: signal.raise_signal(signal.SIGINT))
    assert sweep().code == 130
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_page_that_takes_the_place_of_another_says_so(sweep, tmp_path):
    assert "in place of" not in sweep().err + sweep().err
    (tmp_path / "sweep.html").write_text("other arms")
    assert f"{tmp_path / 'sweep.html'}, in place of an earlier one" in sweep().err


def test_a_page_that_cannot_be_written_is_an_error(sweep, tmp_path):
    (tmp_path / "sweep.html").mkdir()
    ended = sweep()
    assert (ended.code, "sweep.html cannot be written" in ended.err, "--folder" in ended.err) == (10, True, True)


def test_what_the_data_says_against_new_arms_is_told_before_they_start(ser, tmp_path, monkeypatch):
    monkeypatch.setattr("ser_core.cli.commands.changing.sweep.LocalRuns", FirstFails)
    rows = [{"prompt": f"question {number}", "chosen": "good", "rejected": "bad"} for number in range(60)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = {
        "rewardModel": {"base": "file://./model"},
        "data": {"source": {"uri": "file://./pairs.jsonl"}},
        "storage": {"uri": "file://./store"},
    }
    file = tmp_path / "serrun.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "small"}, "spec": spec}))
    command = ("sweep", file, "--set", "loop.rule=paper,calibrated", "--set", "training.seed=0..1")
    told, again = ser(*command).err, ser(*command).err
    assert told.count("warning: loop.rule=paper: loop.thresholds.minSamples is 600") == 1
    assert told.count("warning: the seed has") == 1
    assert told.index("warning: loop.rule=paper:") < told.index("small-paper-seed0: started")
    assert "minSamples" not in again
