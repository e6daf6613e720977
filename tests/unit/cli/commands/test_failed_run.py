"""What leads on from a failed run of this machine: every command names those that let it go on."""

import json

import pytest

from ser_core.api.status import Phase
from ser_core.report.ledger import Ledger
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import save_run


@pytest.fixture
def failed(writable_run):
    """Stores the run as failed for a reason, before it had a model; returns its file."""

    def store(reason="IdenticalAnswers"):
        before = writable_run.run.status
        told = tuple(condition.model_copy(update={"reason": reason}) for condition in before.conditions)
        status = before.model_copy(update={"phase": Phase.FAILED, "best_iteration": None, "conditions": told})
        save_run(connect(writable_run.run.spec.storage), writable_run.run.model_copy(update={"status": status}))
        return writable_run.file

    return store


def to_do(file):
    return f"nothing is tried until ser retry {file}; what was wrong and what to do: ser why {file}"


@pytest.mark.parametrize("command", ["score", "export", "suggest"])
def test_what_needs_a_result_leads_to_retry(ser, failed, tmp_path, monkeypatch, command):
    monkeypatch.setattr(Ledger, "filters", ())
    file = failed()
    arguments = {"score": ("-", "--run", file), "export": (file, tmp_path / "new"), "suggest": (file, "-o", tmp_path / "new")}
    ended = ser(command, *arguments[command], stdin='{"prompt": "p", "answer": "a"}\n')
    assert "it is Failed" in ended.err
    assert ended.err.endswith(f"hint: {to_do(file)}\n")


def test_before_it_has_failed_they_lead_to_why(ser, writable_run, tmp_path, monkeypatch):
    monkeypatch.setattr(Ledger, "filters", ())
    assert f"hint: how far it is, and how it goes on: ser why {writable_run.file}\n" in ser("suggest", writable_run.file).err


def test_run_says_that_nothing_is_tried(ser, failed, monkeypatch):
    file = failed()
    (event,) = map(json.loads, ser("run", file, "--json").out.splitlines())
    assert (event["event"], event["phase"], event["hint"]) == ("ended", "Failed", to_do(file))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert f": {to_do(file)}\n" in ser("run", file).out


def test_where_the_file_alone_lets_it_go_on_no_retry_is_asked_for(ser, failed):
    file = failed("DeadlineExceeded")
    assert json.loads(ser("run", file, "--json").out)["hint"] == f"what was wrong and what to do: ser why {file}"


def test_status_says_what_to_do_and_after_retry_that_it_is_reopened(ser, failed):
    file = failed()
    assert f"next          {to_do(file)}\n" in ser("status", file).out
    assert ser("retry", file).code == 0
    assert f"next          the run is reopened, and ser run {file} goes on with it\n" in ser("status", file).out
