"""What `ser run` keeps on this machine beside the store."""

import subprocess
import sys

import pytest

from ser_core.cli.access import local_executor
from ser_core.cli.access.local_executor import PYTHON, LocalExecutor, StageEvent, read_event, read_events, remove_left_folders
from ser_core.errors import SERError


def test_the_folders_of_killed_ser_runs_of_a_run_go_and_those_of_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("ser-run-0123-a", "ser-run-0123-b", "ser-run-4567-a"):
        (tmp_path / name / "job").mkdir(parents=True)
    remove_left_folders("ser-run-0123-")
    assert [path.name for path in tmp_path.iterdir()] == ["ser-run-4567-a"]


@pytest.mark.parametrize(
    "line",
    ["[1, 2]", '"word"', "null", "[" * 100_000, "9" * 5000, '{"event": 1, "time"', "{}", '{"event": "progress"}', '{"event": "output"}'],
)
def test_what_a_library_prints_is_output_and_no_event(line):
    assert read_event("job", line) == StageEvent("job", "output", {"text": line})


def test_a_line_end_of_unicode_ends_no_event():
    told = '{"event": "warned", "text": "a\u0085b\u2028c\u2029d"}\n'
    assert read_events("job", f"{told}\n50 %\r100 %\n".encode()) == [
        StageEvent("job", "warned", {"text": "a\u0085b\u2028c\u2029d"}),
        StageEvent("job", "output", {"text": "50 %"}),
        StageEvent("job", "output", {"text": "100 %"}),
    ]


def test_a_file_of_the_users_folder_is_no_module_of_the_programs(tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit(3)")
    assert subprocess.run([*PYTHON, "-c", "import random"], cwd=tmp_path).returncode == 0
    assert local_executor.SERVER[: len(PYTHON)] == PYTHON


@pytest.mark.parametrize("printed", ["words", "[1, 2]", "null", ""])
def test_what_a_library_prints_in_the_server_is_passed_over(printed, monkeypatch):
    monkeypatch.setattr(local_executor, "SERVER", (sys.executable, "-S", "-c", f"print({printed!r})"))
    with LocalExecutor("0123") as executor, pytest.raises(SERError, match="the server of the stage processes ended"):
        executor.wait(20)
