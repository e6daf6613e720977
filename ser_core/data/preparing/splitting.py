"""Splitting by groups: pairs that share a prompt, or a value of the chosen column, never fall on two sides.

The result depends on the content of the pairs and on the seed alone, not on the order of rows or the names of files.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Connected pairs. ``key`` is the lowest of their ids."""

    key: str
    members: tuple[int, ...]
    """Positions in the list of pairs."""


def connected_groups(ids: Sequence[str], values: Sequence[tuple[bytes, ...]]) -> list[Group]:
    """Groups of pairs that are connected by shared values, directly or through other pairs (union-find).

    Args:
        ids: One a pair, all different.
        values: Per pair the digests of its prompt and of its column; equal digests connect.
    """
    parent = list(range(len(ids)))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    first: dict[bytes, int] = {}
    for position, shared in enumerate(values):
        for value in shared:
            parent[root(position)] = root(first.setdefault(value, position))
    members: dict[int, list[int]] = {}
    for position in range(len(ids)):
        members.setdefault(root(position), []).append(position)
    return [Group(min(ids[position] for position in positions), tuple(positions)) for positions in members.values()]


def assign(groups: Sequence[Group], shares: Mapping[str, float], rest: str, seed: int) -> dict[str, list[Group]]:
    """Give every group to one side.

    Groups are visited in the order of a seeded hash. A side takes a group as long as that brings it nearer to its share of the
    pairs; a side that every group would overfill takes the smallest one.

    Args:
        groups: From `connected_groups`.
        shares: Wanted share of the pairs by side, served in this order.
        rest: The side that takes what is left.
        seed: Seed of the split.

    Returns:
        Groups by side, every side of ``shares`` and ``rest`` included.
    """
    total = sum(len(group.members) for group in groups)
    free = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{'+'.join(shares)}:{group.key}".encode()).digest())
    sides: dict[str, list[Group]] = {}
    for side, share in shares.items():
        sides[side], free = _take(free, share * total)
    sides[rest] = free
    return sides


def _take(groups: list[Group], wanted: float) -> tuple[list[Group], list[Group]]:
    taken, left, count = [], [], 0
    for group in groups:
        size = len(group.members)
        if abs(count + size - wanted) <= abs(count - wanted):
            taken.append(group)
            count += size
        else:
            left.append(group)
    if not taken and left:
        smallest = min(left, key=lambda group: len(group.members))
        left.remove(smallest)
        taken.append(smallest)
    return taken, left


def coin(seed: int, pair_id: str) -> bool:
    """A fair toss that depends on the seed and the pair alone."""
    return bool(hashlib.sha256(f"{seed}:side:{pair_id}".encode()).digest()[0] & 1)
