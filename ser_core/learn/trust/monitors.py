"""What shows that a run feeds on its own labels: steadiness of the labels, scores, and confidence beside truth. Pure; numpy alone.

Nothing here decides. Hidden and held-out labels do not come in: truth are labels of the seed that what labels has not seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ser_core.api.status import Monitors
from ser_core.learn.evaluation.calibration import sigmoid
from ser_core.learn.trust.confident import FoldEvidence, unseen_confidence
from ser_core.learn.trust.selection import Flags, Floats, Selection, gap_confidence


@dataclass(frozen=True, slots=True)
class Unseen:
    """Labelled pairs that what labels has not learnt.

    Attributes:
        confidence: (pairs,) by the rule's own measure, as for pairs of the pool.
        right: (pairs,) whether the answer with the higher score is the chosen one.
    """

    confidence: Floats
    right: Flags


def monitors(score_1: Floats, score_2: Floats, selection: Selection, unseen: Unseen | None, same: float | None) -> Monitors | None:
    """The monitors of a loop; None where nothing was labelled.

    Args:
        score_1: (pairs,) raw logits of the first answers.
        score_2: (pairs,) raw logits of the second answers.
        selection: What the rule made of them.
        unseen: None where there are no such pairs.
        same: `same_labels`.
    """
    if not len(score_1):
        return None
    kept = selection.kept
    lowest = selection.threshold if selection.threshold is not None else selection.confidence[kept].min(initial=np.inf)
    least = lowest if kept.any() else np.inf
    sure = None if unseen is None else unseen.right[unseen.confidence >= least]
    return Monitors(
        same_labels=same,
        score=float(np.concatenate((score_1, score_2)).mean()),
        margin=float(np.abs(score_1 - score_2).mean()),
        confidence=float(selection.confidence[kept].mean()) if kept.any() else None,
        right=None if sure is None or not len(sure) else float(sure.mean()),
        as_sure=None if sure is None else len(sure),
        easier=float((selection.status[kept] == 1).mean()) if kept.any() else None,
    )


def same_labels(labels: Mapping[str, int], before: Mapping[str, int]) -> float | None:
    """Share of the pairs labelled by this loop and the loop before that both label alike; None without such pairs.

    Args:
        labels: 1 or 2 by pair id.
        before: The same of the loop before.
    """
    both = labels.keys() & before.keys()
    return sum(labels[name] == before[name] for name in both) / len(both) if both else None


def by_probabilities(score_chosen: Floats, score_rejected: Floats) -> Unseen:
    """Unseen pairs with the confidence that rules paper and reference report; (pairs,) raw logits."""
    return Unseen(gap_confidence(score_chosen, score_rejected), score_chosen > score_rejected)


def by_temperature(margins: Floats) -> Unseen:
    """Calibration pairs with the confidence of rule calibrated as version 0.1.0 had it; (pairs,) margins in units of the temperature."""
    return Unseen(sigmoid(np.abs(margins)), margins > 0)


def by_chance(evidence: FoldEvidence) -> Unseen:
    """The seed's pairs, each by the fold model that has not seen it, with their chances of being labelled right."""
    return Unseen(unseen_confidence(evidence), evidence.margins > 0)
