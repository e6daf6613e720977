"""Counts by kind how the attacks ended."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ser_core.errors import SERError

ENDS = ("refused", "told", "broke")
"""An error of ours named it; it went on, and what was to be seen was seen; the test failed."""


class Counting:
    """A plugin of pytest.

    Args:
        kinds: Of each test file, or test, that is run.
    """

    def __init__(self, kinds: dict[str, str]) -> None:
        self.ends: Counter[tuple[str, str]] = Counter()
        self.broken: list[str] = []
        self._kinds = kinds
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

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.ends[self._kind(report.nodeid), "broke"] += 1
            self.broken.append(report.nodeid)
        elif report.when == "call" and report.passed:
            self.ends[self._kind(report.nodeid), "refused" if self._refusals else "told"] += 1

    def _kind(self, test: str) -> str:
        name = test.partition("[")[0]
        return self._kinds.get(name) or self._kinds[name.partition("::")[0]]
