"""A plugin of pytest that writes down how each attack ends, a line at a time: what follows may kill the process."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ser_core.errors import SERError

ENDS = ("refused", "told", "broke", "skipped")
"""An error of ours named it; it went on, and what was to be seen was seen; the test failed; this machine cannot try it."""
STARTED = "started"
RESULTS = "SER_ATTACK_RESULTS"
"""The file that the lines go to."""


class Counting:
    """Writes ``{"test", "end", "why"}`` to a file.

    Args:
        results: The file.
    """

    def __init__(self, results: Path) -> None:
        self._results = results
        self._refusals = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: Any) -> Iterator[None]:
        self._refusals = 0
        made = SERError.__init__

        def counted(error: SERError, *arguments: Any, **more: Any) -> None:
            self._refusals += 1
            made(error, *arguments, **more)

        SERError.__init__ = counted  # type: ignore[method-assign]
        try:
            return (yield)
        finally:
            SERError.__init__ = made  # type: ignore[method-assign]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(nodeid, STARTED)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._write(report.nodeid, "broke", _last_line(report))
        elif report.skipped:
            self._write(report.nodeid, "skipped")
        elif report.when == "call":
            self._write(report.nodeid, "refused" if self._refusals else "told")

    def _write(self, test: str, end: str, why: str = "") -> None:
        with self._results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"test": test, "end": end, "why": why}) + "\n")


def _last_line(report: Any) -> str:
    """What the test failed with, without the frames."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return next(iter(str(crash.message if crash else report.longrepr).splitlines()), "")


def pytest_configure(config: pytest.Config) -> None:
    """As ``-p attack.counting``."""
    if path := os.environ.get(RESULTS):
        config.pluginmanager.register(Counting(Path(path)))
