"""What `ser run` keeps on this machine beside the store."""

from ser_core.cli.access.local_executor import remove_left_folders


def test_the_folders_of_killed_ser_runs_of_a_run_go_and_those_of_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("ser-run-0123-a", "ser-run-0123-b", "ser-run-4567-a"):
        (tmp_path / name / "job").mkdir(parents=True)
    remove_left_folders("ser-run-0123-")
    assert [path.name for path in tmp_path.iterdir()] == ["ser-run-4567-a"]
