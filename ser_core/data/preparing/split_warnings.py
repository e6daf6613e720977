"""Warnings about the sides of the split. Nothing here decides anything."""

from collections.abc import Mapping, Sequence

from ser_core.counted import by_column, counted
from ser_core.loop.deciding.significance import FEW_GROUPS

SMALL_SEED = 500
SMALL_HELDOUT = 200
DOMINANT_GROUP = 0.2


def split_warnings(sizes: Mapping[str, int], group_sizes: Sequence[int], split_by: str) -> list[str]:
    """Warnings about the sides: a dominant group, too few pairs to be sure of anything.

    Args:
        sizes: Pairs by side (seed, dev, pool, heldout).
        group_sizes: Pairs of each group that was split.
        split_by: The column that made the groups.
    """
    warnings = []
    largest, total = max(group_sizes), sum(group_sizes)
    if largest > DOMINANT_GROUP * total:
        share = f"one of {len(group_sizes)} groups{by_column(split_by)} holds {largest / total:.0%} of the pairs"
        warnings.append(f"{share}: the sides follow the fractions only roughly")
    if sizes["seed"] + sizes["dev"] < SMALL_SEED:
        warnings.append(f"the seed has {counted(sizes['seed'] + sizes['dev'], 'pair')}: fewer than {SMALL_SEED} make a weak first model")
    if sizes["heldout"] < SMALL_HELDOUT:
        warnings.append(f"heldout has {counted(sizes['heldout'], 'pair')}: accuracies will have wide intervals")
    return warnings


def shared_with_heldout(shared: Sequence[str], split_by: str) -> list[str]:
    """What held-out accuracy is worth, where the three files share groups. A shared prompt is refused before.

    Args:
        shared: Of each group of the held-out pairs that other pairs are in, too, the place of one held-out pair.
        split_by: What made the groups.
    """
    what = f"{counted(len(shared), 'group')}{by_column(split_by)} of data.heldout also in data.seed or data.unlabeled"
    those = f"leave these groups out of one side, such as that of {'; '.join(shared[:3])}"
    return [f"{what}: held-out accuracy flatters; {those}"] if shared else []


def grouped(pairs: int, groups: int, split_by: str) -> list[str]:
    """What intervals rest on, where groups are few or most held-out pairs share theirs with another one.

    Args:
        pairs: Held-out ones.
        groups: Those that they are in.
        split_by: The column that made the groups.
    """
    where = f"the {pairs:,} held-out pairs are in {counted(groups, 'group')}{by_column(split_by)}"
    if groups < FEW_GROUPS:
        return [f"{where}: intervals and p-values count groups, and of fewer than {FEW_GROUPS} they are not to be trusted"]
    if groups > pairs / 2:
        return []
    return [f"{where}: pairs of one are right or wrong together, so intervals and p-values count groups, not pairs"]
