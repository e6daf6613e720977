"""`make attack` counts right, and ends whatever the attacks do to its processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attack import __main__ as command
from attack.catalogue import attacks, kind_of
from attack.trying import End, by_file, tried

TESTS = """
import os, signal, time

import pytest

from ser_core.errors import SpecError


def test_refused():
    with pytest.raises(SpecError):
        raise SpecError("no")


def test_told():
    pass


def test_broke():
    assert 1 == 2, "it got in"


def test_skipped():
    pytest.skip("not here")
"""
MANUAL = """### specs

| attack | what | proved by |
|---|---|---|
| a | b | `tests/x/a.py` |
| c | d | `tests/x/b.py::test_c`, `tests/e2e/c.py` |

### terminals

| attack | what | proved by |
|---|---|---|
| e | f | `tests/x/b.py` |
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes a test file, and says how pytest names it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")

    def write(text):
        (tmp_path / "test_it.py").write_text(text)
        return ["test_it.py"]

    return write


def test_each_end_is_counted_with_its_reason(file, tmp_path):
    found = [(one.test.partition("::")[2], one.end, one.why) for one in tried(file(TESTS), tmp_path)]
    assert found == [
        ("test_refused", "refused", ""),
        ("test_told", "told", ""),
        ("test_broke", "broke", "AssertionError: it got in"),
        ("test_skipped", "skipped", ""),
    ]


def test_an_attack_that_kills_its_process_is_counted(file, tmp_path):
    killed = "\n\ndef test_kills():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    last = tried(file(TESTS + killed), tmp_path)[-1]
    assert last == End("test_it.py::test_kills", "broke", "pytest ended with -9; the rest of the file was not tried")


def test_an_attack_without_end_is_ended_and_counted(file, tmp_path):
    long_ago = 'os.utime(os.environ["SER_ATTACK_RESULTS"], (0, 0))'
    last = tried(file(f"{TESTS}\n\ndef test_hangs():\n    {long_ago}\n    time.sleep(10**6)\n"), tmp_path)[-1]
    assert last == End("test_it.py::test_hangs", "broke", "it had no end; the rest of the file was not tried")


def test_a_test_that_changes_the_folder_is_counted(file, tmp_path):
    (tmp_path / "log").mkdir()
    found = tried(file(TESTS + "\n\ndef test_moves():\n    os.chdir('/')\n"), Path("log"))
    assert found[-1] == End("test_it.py::test_moves", "told", "")


def test_a_file_that_cannot_be_read_is_counted(file, tmp_path):
    (only,) = tried(file("import what_is_not_there\n"), tmp_path)
    assert (only.test, only.end) == ("test_it.py", "broke")


def test_a_file_that_is_named_as_a_whole_is_tried_once():
    assert by_file(["b.py::test_c", "a.py", "b.py", "c.py::test_d"]) == {"a.py": ["a.py"], "b.py": ["b.py"], "c.py": ["c.py::test_d"]}


@pytest.mark.parametrize(
    ("test", "kind"), [("tests/x/a.py::test_1[x]", "specs"), ("tests/x/b.py::test_c[y]", "specs"), ("tests/x/b.py::test_d", "terminals")]
)
def test_a_test_counts_for_the_first_row_that_names_it(test, kind):
    assert kind_of(test, attacks(MANUAL)) == kind


def test_the_command_prints_counts_and_no_traceback(file, tmp_path, monkeypatch, capsys):
    file(TESTS)
    (tmp_path / "manual.md").write_text("### specs\n\n| attack | what | proved by |\n|---|---|---|\n| a | b | `tests/test_it.py` |\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "test_it.py").rename(tmp_path / "tests" / "test_it.py")
    monkeypatch.setattr(command, "MANUAL", tmp_path / "manual.md")
    assert command.main() == 1
    printed = capsys.readouterr().out
    assert "1 refused, 1 told, 1 broke, 1 skipped" in printed
    assert "broke: tests/test_it.py::test_broke: AssertionError: it got in" in printed
    assert "Traceback" not in printed


def test_sigterm_ends_what_is_being_tried(tmp_path):
    for folder in ("docs", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "docs" / "security.md").write_text(MANUAL.replace("tests/x/a.py", "tests/test_it.py"))
    (tmp_path / "tests" / "test_it.py").write_text(
        "import os, pathlib, time\n\ndef test_it():\n    pathlib.Path('pid').write_text(f'{os.getpid()}\\n')\n    time.sleep(10**6)\n"
    )
    command = subprocess.Popen(
        [sys.executable, "-m", "attack"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE
    )
    pid, deadline = tmp_path / "pid", time.monotonic() + 120
    while not pid.exists() or not pid.read_text().endswith("\n"):
        assert time.monotonic() < deadline and command.poll() is None
        time.sleep(0.05)

    command.send_signal(signal.SIGTERM)
    command.communicate(timeout=120)

    assert command.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
