"""What leads on from a failed run of this machine: every command names those that let it go on."""

import json

import pytest

from ser_core.api.status import Phase, StageStatus
from ser_core.loop.recording.conditions import conditions
from ser_core.report.ledger import Ledger
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import save_run


@pytest.fixture
def failed(writable_run):
    """Stores the run as failed for a reason, before it had a model; returns its file."""

    def store(reason="IdenticalAnswers", active_deadline=None, older=None, **more):
        before = writable_run.run.status
        told = conditions((), Phase.FAILED, reason, before.message, 1, "2026-01-01T00:00:00Z")
        stages = (*before.stages, older) if older else before.stages
        status = before.model_copy(update={"phase": Phase.FAILED, "best_iteration": None, "conditions": told, "stages": stages, **more})
        spec = writable_run.run.spec.model_copy(update={"active_deadline": active_deadline})
        if active_deadline:
            writable_run.file.write_text(writable_run.file.read_text().replace("spec:", f"spec:\n  activeDeadline: {active_deadline}"))
        save_run(connect(spec.storage), writable_run.run.model_copy(update={"status": status, "spec": spec}))
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
    file = failed("DeadlineExceeded", active_deadline="1s", admitted_seconds=5.0)
    assert json.loads(ser("run", file, "--json").out)["hint"] == f"what was wrong and what to do: ser why {file}"


def test_a_run_that_is_out_of_time_has_the_code_of_one_that_waits_for_its_user_and_no_retry(ser, failed):
    file = failed("DeadlineExceeded", active_deadline="1s", admitted_seconds=5.0)
    assert ser("run", file, "--json").code == 75
    assert "fix       raise or remove activeDeadline" in (why := ser("why", file).out)
    assert "ser retry" not in why
    told = ser("retry", file)
    assert (told.code, told.out) == (10, "")
    assert "error: spec.activeDeadline: the stages have run for all of 1s, and the run would only fail again" in told.err
    assert told.err.endswith(f"hint: raise or remove activeDeadline, and ser run {file} goes on\n")


def test_the_exit_code_is_not_that_of_an_older_attempt(ser, failed):
    older = StageStatus(iteration=0, stage="prepare", attempt=1, outcome="Failed", exit_code=20, started_at="2026-01-01T00:00:00Z")
    assert ser("run", failed("NotAllowed", older=older), "--json").code == 1


def test_status_says_what_to_do_and_after_retry_that_it_is_reopened(ser, failed):
    file = failed()
    assert f"next          {to_do(file)}\n" in ser("status", file).out
    assert ser("retry", file).code == 0
    assert f"next          the run is reopened, and ser run {file} goes on with it\n" in ser("status", file).out
