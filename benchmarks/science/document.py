"""docs/results.md, whose tables are written from the committed results; its words are written by people."""

from collections.abc import Sequence

from benchmarks.science.rows import Result
from benchmarks.science.sets import ROOT
from benchmarks.science.table import tables

DOCUMENT = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- tables of benchmarks.science -->\n", "\n<!-- end of the tables -->"


def with_tables(document: str, results: Sequence[Result]) -> str:
    """The same text with the tables of these results.

    Raises:
        ValueError: The text has no place for them.
    """
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "\n" + "\n".join(tables(results)) + "\n" + END + after
