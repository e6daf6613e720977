"""The groups of the pairs of three files: which name each has, and what the files share. A group is cut where the files end."""

from collections.abc import Mapping, Sequence

from ser_core.data.preparing.pairs.validation import Entry
from ser_core.data.preparing.splitting import Group


def named_by_labels(groups: Sequence[Group], entries: Sequence[Entry]) -> list[Group]:
    """With the lowest id of their labelled pairs as key: folds of the seed do not depend on what the pool has beside them."""
    ids = ([entries[member].id for member in group.members if entries[member].part != "unlabeled"] for group in groups)
    return [Group(min(own, default=group.key), group.members) for group, own in zip(groups, ids, strict=True)]


def groups_of_part(part: str, groups: Sequence[Group], entries: Sequence[Entry]) -> list[Group]:
    """What each group has in one of the files; without the groups that have nothing there."""
    own = ((group.key, tuple(member for member in group.members if entries[member].part == part)) for group in groups)
    return [Group(key, members) for key, members in own if members]


def known_groups(sides: Mapping[str, Sequence[Group]], entries: Sequence[Entry]) -> dict[str, str]:
    """Group of each labelled pair, and of each pool pair in the group of such a one, by id."""
    labelled = [group for side in ("seed", "dev", "heldout") for group in sides[side]]
    keys = {group.key for group in labelled}
    return group_of([*labelled, *(group for group in sides["pool"] if group.key in keys)], entries)


def group_of(groups: Sequence[Group], entries: Sequence[Entry]) -> dict[str, str]:
    """Group of each pair, by id."""
    return {entries[member].id: group.key for group in groups for member in group.members}


def shared_groups(groups: Sequence[Group], entries: Sequence[Entry]) -> tuple[int, list[str]]:
    """How many groups the seed's file shares with the pool's; of each that the held-out pairs share with one of these two, where one is."""
    parts = [{entries[member].part for member in group.members} for group in groups]
    shared = [group for group, own in zip(groups, parts, strict=True) if "heldout" in own and len(own) > 1]
    firsts = [next(entries[member] for member in group.members if entries[member].part == "heldout") for group in shared]
    return sum({"seed", "unlabeled"} <= own for own in parts), [f"{one.file}, line {one.line}" for one in firsts]
