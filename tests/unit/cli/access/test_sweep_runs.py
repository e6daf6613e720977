"""What a sweep of this machine says of a run that it hands to `ser run`, and how it stops one."""

import signal
import subprocess

import pytest
import typer

from ser_core.api.status import Phase
from ser_core.cli.access.sweeps.runs import LocalRuns
from ser_core.cli.commands.changing.sweep import _carry_out, _noted_signals
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import save_run
from ser_core.sweep.variants import Variant


@pytest.mark.parametrize(
    ("phase", "reopen", "said"),
    [
        (None, 0, "started"),
        (Phase.RUNNING, 0, "goes on"),
        (Phase.COMPLETED, 0, "had ended before"),
        (Phase.FAILED, 0, "had ended before"),
        (Phase.FAILED, 1, "goes on"),
    ],
)
def test_it_is_said_what_is_done_with_a_run(writable_run, monkeypatch, phase, reopen, said):
    monkeypatch.setattr("ser_core.cli.access.sweeps.runs.subprocess.Popen", lambda *_, **__: None)
    before = writable_run.run
    if phase is None:
        next(writable_run.folder.rglob("run.json")).unlink()
    else:
        changed = {"status": before.status.model_copy(update={"phase": phase}), "spec": before.spec.model_copy(update={"reopen": reopen})}
        save_run(connect(before.spec.storage), before.model_copy(update=changed))
    assert LocalRuns(1).start(0, "small", writable_run.file, {}) == said


class Started(subprocess.Popen):
    """A process in whose start the sweep is asked to stop."""

    def __init__(self, *_, **__):
        super().__init__(["sleep", "600"])
        signal.raise_signal(signal.SIGTERM)


def test_a_stop_that_comes_while_a_run_is_started_reaches_it(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("ser_core.cli.access.sweeps.runs.subprocess.Popen", lambda *_, **__: started.append(Started()) or started[0])
    try:
        with pytest.raises(typer.Exit) as ended, _noted_signals() as received:
            _carry_out([Variant("small", {}, {})], [{"spec": {}}], LocalRuns(1), 1, 0.01, tmp_path, received)
        assert (ended.value.exit_code, started[0].returncode) == (128 + signal.SIGTERM, -signal.SIGTERM)
    finally:
        started[0].kill()
