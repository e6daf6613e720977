"""A row of a data file before anything is known about its meaning, and what it means to drop one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_ROW_BYTES = 16 * 1024 * 1024
"""Longest row that is read. A row above it is dropped without being held in memory."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file on this machine."""

    name: str
    """Name relative to the source's URI, for messages."""
    path: Path


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its file, its line (or row number) from 1, and its fields."""

    file: str
    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is dropped, with the CamelCase reason and what exactly is wrong."""

    file: str
    line: int
    reason: str
    detail: str


class RowError(Exception):
    """Raised where a row turns out to be unusable; the caller knows its file and line."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def at(self, file: str, line: int) -> BadRow:
        """The dropped row."""
        return BadRow(file, line, self.reason, self.detail)


def first_repeated(names: Iterable[str]) -> str | None:
    """The first name that stands there a second time; None: each stands there once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
