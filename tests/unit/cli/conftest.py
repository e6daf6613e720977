"""`ser` in this process, and golden files."""

import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ser_core.cli import app

GOLDEN = Path(__file__).parents[2] / "golden"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def ser(monkeypatch, capsys):
    """Calls the command line; ``stdin`` is what it can read."""

    def call(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["ser", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            app.main()
        captured = capsys.readouterr()
        return Ended(ended.value.code or 0, captured.out, captured.err)

    return call


@pytest.fixture
def golden():
    """Compares a text with a file in tests/golden; with UPDATE_GOLDEN=1 it writes the file."""

    def compare(name, text):
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} differs; UPDATE_GOLDEN=1 writes it anew"

    return compare
