"""`ser retry`: a failed run goes on, here and on a cluster."""

import pytest

from ser_core.api.status import Phase
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import load_run, save_run


def in_phase(stored_run, phase, reopened=0):
    """Store the run in another phase."""
    status = stored_run.run.status.model_copy(update={"phase": phase, "reopened": reopened})
    run = stored_run.run.model_copy(update={"status": status})
    save_run(connect(run.spec.storage), run)
    return run


def test_on_a_cluster_it_raises_one_field(ser, api, stored_run):
    api.put_run(in_phase(stored_run, Phase.FAILED))
    answer = ser("retry", "small")
    assert (answer.code, answer.out) == (0, "serrun.ser.dev/small reopened\n")
    assert api.asked[-1] == ("PATCH", f"{api.runs()}/small", {}, {"spec": {"reopen": 1}})


def test_here_it_raises_one_field_of_the_stored_run_and_leaves_the_file(ser, stored_run):
    run = in_phase(stored_run, Phase.FAILED)
    before = stored_run.file.read_text()
    answer = ser("retry", stored_run.file)
    assert (answer.code, answer.out) == (0, f"{stored_run.file} reopened\n")
    assert answer.err == f"to go on: ser run {stored_run.file}\n"
    again = load_run(connect(run.spec.storage), run.metadata.namespace, run.metadata.name)
    assert (again.spec.reopen, again.metadata.generation) == (1, run.metadata.generation + 1)
    assert again.status == run.status
    assert stored_run.file.read_text() == before
    assert "reopened already" in ser("retry", stored_run.file).err


@pytest.mark.parametrize(
    ("phase", "hint"),
    [
        (Phase.COMPLETED, "raise loop.maxIterations"),
        (Phase.RUNNING, "ser why"),
        (Phase.SUSPENDED, "ser resume"),
        (Phase.BUDGET_EXCEEDED, "raise budget.gpuHours"),
    ],
)
def test_what_has_not_failed_is_not_retried(ser, api, stored_run, phase, hint):
    api.put_run(in_phase(stored_run, phase))
    answer = ser("retry", "small")
    assert (answer.code, answer.out) == (10, "")
    assert f"has not failed ({phase}): there is nothing to retry" in answer.err
    assert hint in answer.err


def test_out_of_budget_a_run_of_this_machine_goes_on_by_ser_run(ser, stored_run):
    in_phase(stored_run, Phase.BUDGET_EXCEEDED)
    assert f"raise budget.gpuHours, and ser run {stored_run.file} goes on" in ser("retry", stored_run.file).err
