"""What a sweep of this machine says of a run that it hands to `ser run`."""

import pytest

from ser_core.api.status import Phase
from ser_core.cli.access.sweep_runs import LocalRuns
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import save_run


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
    monkeypatch.setattr("ser_core.cli.access.sweep_runs.subprocess.Popen", lambda *_, **__: None)
    before = writable_run.run
    if phase is None:
        next(writable_run.folder.rglob("run.json")).unlink()
    else:
        changed = {"status": before.status.model_copy(update={"phase": phase}), "spec": before.spec.model_copy(update={"reopen": reopen})}
        save_run(connect(before.spec.storage), before.model_copy(update=changed))
    assert LocalRuns(1).start(0, "small", writable_run.file, {}) == said
