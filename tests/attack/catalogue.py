"""The attacks, read from the tables of docs/security.md: there is no second list of them."""

import re
from dataclasses import dataclass
from pathlib import Path

MANUAL = Path("docs/security.md")
ON_A_CLUSTER = ("tests/e2e/", "tests/node/")
"""What runs on a control plane of its own: `make e2e` and `make node`."""
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@dataclass(frozen=True, slots=True)
class Attack:
    """One row."""

    kind: str
    what: str
    tests: tuple[str, ...]
    """As pytest names them."""

    @property
    def here(self) -> tuple[str, ...]:
        """Those that need no cluster."""
        return tuple(test for test in self.tests if not test.startswith(ON_A_CLUSTER))


def attacks(text: str) -> list[Attack]:
    """Every row of a table whose last column says what proves it, under the heading of its kind."""
    found, kind = [], ""
    for line in text.splitlines():
        if line.startswith("#"):
            kind = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 3 and cells[0] != "attack":
            found.append(Attack(kind, cells[0], named_in(cells[2])))
    return found


def kind_of(test: str, rows: list[Attack]) -> str:
    """Of a test as pytest reports it; one of two rows counts for the first; a row may name it, or its whole file."""
    name = test.partition("[")[0]
    for wanted in (name, name.partition("::")[0]):
        for row in rows:
            if wanted in row.here:
                return row.kind
    raise LookupError(f"{test} is of no row")


def named_in(text: str) -> tuple[str, ...]:
    """The tests that a text names."""
    return tuple(f"{path}::{name}" if name else path for path, name in _TEST.findall(text))
