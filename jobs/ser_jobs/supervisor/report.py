"""What the container says at its end: an event in the log, the termination message, the exit code."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_core.errors import Interrupted, SERError, is_disk_full
from ser_jobs.supervisor.ends import End, cause, speakers

TERMINATION_MESSAGE = "SER_TERMINATION_MESSAGE"
"""Environment variable with the file of the termination message."""


def report(ends: Sequence[End], messages: Mapping[int, Path]) -> int:
    """Write the container's termination message; returns its exit code.

    Args:
        ends: All ends, in the order in which they happened.
        messages: File of the message of every process that was started, by rank. A process need not have written it.
    """
    end = cause(ends)
    if end is not None and end.error is not None:
        _write(_said(end.error))
    else:
        written = [messages[rank] for rank in speakers(ends) if messages[rank].exists()]
        if written:
            _write(written[0].read_bytes())
    return end.code if end else 0


def say(name: str, **fields: Any) -> None:
    """Write one event on standard output, as the processes do."""
    moment = time.time()
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}+00:00"
    print(json.dumps({"time": text, "event": name, **fields}, ensure_ascii=False), flush=True)


def _said(error: SERError) -> bytes:
    told = {"reason": error.reason, "message": error.message[:900], "hint": (error.hint or "")[:300]}
    say("failed", **told)
    outcome = "interrupted" if isinstance(error, Interrupted) else "failed"
    return json.dumps({"outcome": outcome, **told}).encode()


def _write(message: bytes) -> None:
    if target := os.environ.get(TERMINATION_MESSAGE):
        try:
            Path(target).write_bytes(message)
        except OSError as error:
            if not is_disk_full(error):
                raise
            say("report-not-written", message="the disk is full")
