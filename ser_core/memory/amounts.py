"""Bytes by part: what a plan adds up and a message names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

GIBIBYTE = 2**30
_USABLE = 0.92
"""Share of a GPU that tensors may take: the rest is CUDA's own, and gaps between tensors."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Bytes of one process on its GPU, by part."""

    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        """Bytes of all parts."""
        return sum(self.parts.values())

    def __add__(self, other: "Amounts") -> "Amounts":
        """Both at the same time; parts of one name become one."""
        names = dict.fromkeys((*self.parts, *other.parts))
        return amounts({name: self.parts.get(name, 0.0) + other.parts.get(name, 0.0) for name in names})


def amounts(parts: Mapping[str, float]) -> Amounts:
    """The parts that are not empty."""
    return Amounts(MappingProxyType({name: size for name, size in parts.items() if size}))


def most(phases: Iterable[Amounts]) -> Amounts:
    """The phase that needs the most, of several that follow each other."""
    return max(phases, key=lambda phase: phase.total)


def room_of(gpu_memory: int) -> float:
    """Bytes of a GPU that tensors may take."""
    return _USABLE * gpu_memory
