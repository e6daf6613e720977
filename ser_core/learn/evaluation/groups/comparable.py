"""Whether the held-out pairs of two runs may be compared one by one, and which of them are right or wrong together."""

from collections.abc import Collection, Mapping, Sequence, Set

from ser_core.data.preparing.splitting import connected_groups

Answers = Mapping[str, tuple[str, str]]
"""Chosen and rejected answer of each held-out pair, where they are known."""


def why_incomparable(a: Set[str], b: Set[str], answers_a: Answers, answers_b: Answers) -> str:
    """What the held-out accuracies of two runs are, where they cannot be compared; empty: they can.

    Args:
        a: The held-out pairs of one run.
        b: Those of the other one.
        answers_a: Answers of ``a``.
        answers_b: Answers of ``b``.
    """
    if a != b:
        return f"accuracies of different data: the runs share {len(a & b):,} of {len(a):,} and {len(b):,} held-out pairs"
    turned = sum(answers_b.get(pair) == (rejected, chosen) for pair, (chosen, rejected) in answers_a.items())
    if turned:
        return f"accuracies by different labels: {turned:,} of {len(a):,} held-out pairs are labelled the other way round"
    return ""


def joined_groups(pairs: Collection[str], groupings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Group of each pair, where what one of the runs holds together stays together: by a topic, though another run tells prompts apart.

    Args:
        pairs: Held-out pairs.
        groupings: Of each run the group of each pair; a pair that is missing is a group of its own. The first one's names are kept.
    """
    ids = sorted(pairs)
    values = [tuple(f"{run} {groups.get(pair, pair)}".encode() for run, groups in enumerate(groupings)) for pair in ids]
    return {ids[member]: groupings[0].get(group.key, group.key) for group in connected_groups(ids, values) for member in group.members}
