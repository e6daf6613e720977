"""Every command that reads a run's store refuses one whose manifests are not those that the run has committed."""

import pytest
from unit.report.test_verified import RETRAIN, Copy

from ser_core.cli.access.stored_run import StoredRun
from ser_core.cli.access.sweeps.results import read_result
from ser_core.errors import StoreError
from ser_core.loop.deciding.stages import StageKey
from ser_core.store.runs.run_object import save_run


@pytest.mark.parametrize("command", ["export", "report", "score", "evolution", "diff", "suggest"])
def test_every_command_that_reads_the_store_refuses_a_forged_run(command, ser, stored_run, tmp_path):
    copy = Copy(stored_run, tmp_path / "store")
    copy.forge(StageKey(2, RETRAIN))
    save_run(copy.store, copy.run)
    file = tmp_path / "serrun.yaml"
    file.write_text(stored_run.file.read_text().replace(f"file://{stored_run.folder}/store", f"file://{copy.folder}"))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "answer": "b"}\n')
    more = {
        "export": [tmp_path / "out"],
        "suggest": ["-o", tmp_path / "out"],
        "report": ["-o", tmp_path / "r.html"],
        "diff": [stored_run.file],
    }
    arguments = [rows, "--run", file] if command == "score" else [file, *more.get(command, ())]
    ended = ser(command, *arguments)
    assert ended.code == StoreError.exit_code
    assert "retrain of loop 2" in ended.err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "r.html").exists()


def test_nor_does_a_sweep_count_one(stored_run, tmp_path):
    copy = Copy(stored_run, tmp_path / "store")
    found = read_result(StoredRun(copy.run, copy.storage, "small"), "arm")
    assert sum(found.right.values()) > sum(found.seed_right.values()) > 0
    copy.forge(StageKey(2, RETRAIN))
    with pytest.raises(StoreError, match="retrain of loop 2"):
        read_result(StoredRun(copy.run, copy.storage, "small"), "arm")
