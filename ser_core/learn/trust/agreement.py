"""How often self-labels equal the hidden human ones, by confidence. Read to report, never to decide."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ser_core.data.tables import Decision

BANDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Borders of the confidence bands. A band holds its lower border; the last one also its upper border."""


def agreement_report(decisions: Sequence[Decision]) -> dict[str, Any]:
    """What `agreement.json` says, over the pairs whose human label is known.

    ``all`` and ``kept``: pairs, and the share of them that agrees (null without pairs). ``bands``: rows of low, high, all, kept.
    """
    known = [decision for decision in decisions if decision.agrees is not None]
    bands = [
        {
            "low": low,
            "high": high,
            **_all_and_kept([item for item in known if low <= item.confidence and (item.confidence < high or high == 1.0)]),
        }
        for low, high in pairwise(BANDS)
    ]
    return {**_all_and_kept(known), "bands": bands}


def _all_and_kept(decisions: Sequence[Decision]) -> dict[str, Any]:
    return {"all": _share(decisions), "kept": _share([decision for decision in decisions if decision.kept])}


def _share(decisions: Sequence[Decision]) -> dict[str, Any]:
    agreeing = sum(decision.agrees is True for decision in decisions)
    return {"pairs": len(decisions), "agreement": agreeing / len(decisions) if decisions else None}
