"""One check and what came of it."""

from dataclasses import dataclass
from typing import Any

from ser_core.errors import SERError


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was found, or what is wrong."""

    name: str
    found: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: SERError | None = None
    material: Any = None
    """What a later check needs of it: the tried bases, a sample of the data."""
