"""A disk without space: a stage goes on without its log, and ends by name where it cannot."""

import errno
import io
import tempfile
from pathlib import Path

import pytest

from ser_core.errors import NodeDiskFull, is_disk_full
from ser_jobs.process import runtime
from ser_jobs.process.result import as_ser_error, report
from ser_jobs.telemetry.reporter import EventLog

FULL = Path("/dev/full")


def test_a_stage_does_its_work_without_its_log():
    EventLog(FULL, io.StringIO()).event("started")

    with pytest.raises(FileNotFoundError):
        EventLog(Path("/nowhere/log.jsonl"), io.StringIO()).event("started")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_whoever_says_it(error):
    wrapped = ValueError("saving failed")
    wrapped.__cause__ = error

    assert is_disk_full(wrapped)
    assert isinstance(as_ser_error(wrapped, "retrain"), NodeDiskFull)
    assert not is_disk_full(OSError(errno.EIO, "Input/output error"))


def test_a_stage_that_gets_no_folder_ends_as_one_on_a_full_disk(monkeypatch, capsys):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    result, code = runtime._in_a_folder(type("Spec", (), {"stage": "retrain"})())

    assert (result.reason, code) == ("NodeDiskFull", NodeDiskFull.exit_code)
    report(str(FULL), result)
    assert "cannot be written" in capsys.readouterr().err
