"""What `ser` does where its output cannot be written, or not in every sign."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STAND_IN = "import sys; from ser_core.cli import app; app.app = lambda **_: print(sys.argv[1] * 100_000); app.main()"


def ended(output, **environment):
    words = [sys.executable, "-c", STAND_IN, "–"]
    return subprocess.run(words, stdout=output, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, check=False)


def test_a_full_disk_is_an_error_in_two_lines():
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        told = ended(full)

    assert told.returncode == 1
    assert told.stderr.splitlines()[0] == "error: the output cannot be written: No space left on device"
    assert len(told.stderr.splitlines()) == 2


def test_a_terminal_that_does_not_know_a_sign_gets_another():
    told = ended(subprocess.PIPE, PYTHONIOENCODING="ascii")

    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("???")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_were_closed_are_no_failure(closed):
    assert subprocess.run(["/bin/sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", STAND_IN, "x"], check=False).returncode == 0


@pytest.fixture
def unread():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        yield pipe


@pytest.mark.parametrize("printed", ["print('x')", "standard_output().print('x')"])
def test_a_reader_that_has_seen_enough_is_no_failure(unread, printed):
    program = (
        f"from ser_core.cli import app; from ser_core.cli.views.output import standard_output; app.app = lambda **_: {printed}; app.main()"
    )
    told = subprocess.run([sys.executable, "-c", program], stdout=unread, stderr=subprocess.PIPE, check=False)
    assert (told.returncode, told.stderr) == (141, b"")


def test_nor_is_one_that_does_not_read_the_help(unread):
    told = subprocess.run([sys.executable, "-m", "ser_core.cli.app", "--help"], stdout=unread, stderr=subprocess.PIPE, check=False)
    assert (told.returncode, told.stderr) == (141, b"")


def test_in_a_folder_that_has_been_deleted_a_command_says_so(tmp_path):
    code = "import os, sys; os.rmdir(os.getcwd()); from ser_core.cli.app import main; sys.argv = ['ser', 'status', 'serrun.yaml']; main()"
    told = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr.splitlines()[0]) == (10, "error: the folder that you are in has been deleted")
