"""What stands under the table of a sweep."""

from collections.abc import Sequence

from ser_core.learn.evaluation.groups.difference import RESAMPLES
from ser_core.loop.deciding.significance import FEW_GROUPS
from ser_core.sweep.results import ArmResult

_NAMED = 5


def note(rows: Sequence[ArmResult], baseline: str, missing: Sequence[str]) -> str:
    """What the differences rest on, and which runs are missing."""
    compared = [row.difference for row in rows if row.difference is not None]
    against = f"; baseline: {baseline}" if any(row.arm != baseline for row in rows) else ""
    sentences = [f"held-out accuracy of the best reward model, mean over the runs{against}"]
    if compared:
        least, most = (function(one.groups for one in compared) for function in (min, max))
        groups = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        tests = f", p corrected for {len(compared)} comparisons (Holm)" if len(compared) > 1 else ""
        drawn = f"{RESAMPLES:,} draws of the {groups} groups of held-out pairs"
        sentences.append(f"differences: pair by pair; interval: {drawn}; p: their signs flipped{tests}")
    over_seed = [row.over_seed for row in rows if row.over_seed is not None]
    if over_seed:
        sentences.append("− seed: pair by pair, best reward models minus seed models of the same runs; its p is not corrected")
    if min([one.groups for one in compared] + [one.groups for one in over_seed], default=FEW_GROUPS) < FEW_GROUPS:
        sentences.append(f"an interval that rests on fewer than {FEW_GROUPS} groups is not to be trusted")
    for why in dict.fromkeys(row.why_apart for row in rows if row.why_apart):
        sentences.append(f"not compared: {'; '.join(row.arm for row in rows if row.why_apart == why)}, since {why}")
    nothing = [row.arm for row in rows if not row.trusted]
    if nothing:
        sentences.append(f"no run trusted any self-label, so these are seed models: {'; '.join(nothing)}")
    fallen = [f"{row.collapsed} of {row.runs} of {row.arm}" for row in rows if row.collapsed]
    if fallen:
        sentences.append(f"best reward models that do not hold, since each of their trainings collapsed: {'; '.join(fallen)}")
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        sentences.append(f"missing: {', '.join(missing[:_NAMED])}{more}")
    return "\n".join(sentences)
