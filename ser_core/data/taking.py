"""Taking rows from a stream by number and size, so that few huge rows cost no more memory than many small ones."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

Taken = TypeVar("Taken")

MOST_CHARACTERS = 32_000_000


def take(rows: Iterator[Taken], most: int, size: Callable[[Taken], int]) -> list[Taken]:
    """The next ``most`` rows; fewer where they end, or where those before have `MOST_CHARACTERS` by ``size``."""
    taken: list[Taken] = []
    characters = 0
    while len(taken) < most and characters < MOST_CHARACTERS:
        row = next(rows, None)
        if row is None:
            break
        taken.append(row)
        characters += size(row)
    return taken


def characters_in(value: Any) -> int:
    """Length of all texts in a value as JSON has them."""
    if isinstance(value, str):
        return len(value)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return sum(map(characters_in, parts))
