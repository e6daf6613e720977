"""`make attack`: every attack of docs/security.md that needs no cluster, with more examples, and how each kind ended."""

import sys

import pytest
from rich.console import Console
from rich.table import Table

from attack.catalogue import MANUAL, Attack, attacks
from attack.counting import ENDS, Counting


def main() -> int:
    """Run them all. Returns 1 when one broke something."""
    rows = attacks(MANUAL.read_text(encoding="utf-8"))
    kinds = {test: row.kind for row in reversed(rows) for test in row.here}  # a test of two rows counts for the first
    counting = Counting(kinds)
    ended = pytest.main(["--timeout=0", *sorted(kinds)], plugins=[counting])
    Console(width=100).print(_table(rows, counting))
    for test in counting.broken:
        print(f"broke: {test}")
    return int(ended != pytest.ExitCode.OK)


def _table(rows: list[Attack], counting: Counting) -> Table:
    table = Table("kind", "attacks", "tried", *ENDS, "on a cluster alone", caption="on a cluster: make e2e, make node")
    for kind in dict.fromkeys(row.kind for row in rows):
        own = [row for row in rows if row.kind == kind]
        ends = [counting.ends[kind, end] for end in ENDS]
        left = sum(not row.here for row in own)
        table.add_row(kind, *map(str, (len(own), sum(ends), *ends, left)))
    return table


sys.exit(main())
