"""A disk without space is told by the folder that is full, by a remedy that helps, and never by a traceback."""

import errno
import shutil
import subprocess
import sys

import pytest

from ser_core.cli.commands.reading import score
from ser_core.errors import NodeDiskFull
from ser_core.report import model_card
from ser_core.store.objects.file import FileStore

IN_RUST = Exception("No space left on device (os error 28)")
BY_THE_SYSTEM = OSError(errno.ENOSPC, "No space left on device")
ERRORS = pytest.mark.parametrize("error", [IN_RUST, BY_THE_SYSTEM])


def raises(error):
    def call(*_, **__):
        raise error

    return call


def test_a_download_blames_the_folder_that_it_writes_into(monkeypatch, tmp_path):
    store = FileStore(tmp_path / "store")
    store.put("a", b"1")
    monkeypatch.setattr(shutil, "copyfile", raises(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "store" / "a"))))
    with pytest.raises(NodeDiskFull) as caught:
        store.download("a", tmp_path / "copies" / "a")
    assert caught.value.message == f"the disk of {tmp_path}/copies is full: No space left on device"
    assert "TMPDIR" in caught.value.hint


@ERRORS
def test_an_export_blames_the_temporary_folder(ser, stored_run, monkeypatch, tmp_path, error):
    monkeypatch.setattr(model_card, "plain_model", raises(error))
    ended = ser("export", stored_run.file, tmp_path / "exported")
    assert (ended.code, "/ser-export-" in ended.err, "TMPDIR" in ended.err) == (24, True, True)
    assert str(tmp_path) not in ended.err


def test_an_export_blames_the_folder_that_was_named(ser, stored_run, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "move", raises(BY_THE_SYSTEM))
    ended = ser("export", stored_run.file, tmp_path / "exported")
    assert (ended.code, f"the disk of {tmp_path}/exported is full" in ended.err) == (24, True)
    assert "name another folder" in ended.err and "TMPDIR" not in ended.err


@ERRORS
def test_a_score_blames_the_temporary_folder(ser, stored_run, monkeypatch, error):
    monkeypatch.setattr(score, "load_model", raises(error))
    ended = ser("score", "-", "--run", stored_run.file, stdin='{"prompt": "a", "answer": "b"}\n')
    assert (ended.code, "/ser-score-" in ended.err, "TMPDIR" in ended.err) == (24, True, True)


@ERRORS
def test_whatever_else_finds_a_full_disk_ends_in_two_lines(error):
    code = f"from ser_core.cli import app\ndef full(**_): raise {error!r}\napp.app = full\napp.main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 2)
    assert ended.stderr.startswith("error: the output cannot be written: No space left on device") and "TMPDIR" in ended.stderr
