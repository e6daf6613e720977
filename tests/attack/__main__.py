"""`make attack`: every attack of docs/security.md that needs no cluster, with more examples, and how each kind ended."""

import signal
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from attack.catalogue import MANUAL, Attack, attacks, kind_of
from attack.counting import ENDS
from attack.trying import End, by_file, tried

FOLDER = Path("build/attack")


def main() -> int:
    """Try them all, file by file. Returns 1 when one broke something, 130 after Ctrl-C or SIGTERM."""
    rows = attacks(MANUAL.read_text(encoding="utf-8"))
    files = by_file([test for row in rows for test in dict.fromkeys(row.here)])
    FOLDER.mkdir(parents=True, exist_ok=True)
    console, found, code = Console(width=100, highlight=False, markup=False), list[End](), 0
    try:
        for number, (file, tests) in enumerate(files.items(), 1):
            started = time.monotonic()
            ended = tried(tests, FOLDER)
            found += ended
            console.print(f"[{number}/{len(files)}] {file}: {_counts(ended)}, {time.monotonic() - started:.0f} s")
    except KeyboardInterrupt:
        code = 130
    console.print(_table(rows, found))
    broken = [one for one in found if one.end == "broke"]
    for one in broken:
        console.print(f"broke: {one.test}: {one.why}", soft_wrap=True)
    if broken:
        console.print(f"what pytest said is in {FOLDER}")
    return code or int(bool(broken))


def _counts(ended: list[End]) -> str:
    counted = Counter(one.end for one in ended)
    return ", ".join(f"{counted[end]} {end}" for end in ENDS if counted[end]) or "nothing to try"


def _table(rows: list[Attack], found: list[End]) -> Table:
    counted = Counter((kind_of(one.test, rows), one.end) for one in found)
    table = Table("kind", "attacks", "tried", *ENDS, "on a cluster alone", caption="on a cluster: make e2e, make node")
    for kind in dict.fromkeys(row.kind for row in rows):
        own = [row for row in rows if row.kind == kind]
        ends = [counted[kind, end] for end in ENDS]
        left = sum(not row.here for row in own)
        table.add_row(kind, *map(str, (len(own), sum(ends), *ends, left)))
    return table


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # make sends it, and the tests of now run in a session of their own
    sys.exit(main())
