"""Single steps of our rule: the first loop's labels chosen as the rule does, and with one step of it left out or made another way.

Pure but for numpy. Each is learnt beside the seed, from the base, at the same settings, so that only the choice differs.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ser_core.api.spec.loop import ThresholdsSpec
from ser_core.learn.trust.confident import FoldEvidence, most_confident
from ser_core.learn.trust.selection import Selection

Floats = NDArray[np.float64]
AS_IT_IS = "as it is"
SELECTIONS = {
    AS_IT_IS: "nothing: the rule's own choice",
    "own scores": "(c) the seed model labels by its own scores, not the mean of the fold models",
    "no accord": "(c) pairs on which the fold models contradict each other weigh as much",
    "no length": "(e) neither confidence nor weight knows the lengths",
    "surest 30 %": "(b) half as many",
    "all": "(b) the whole pool",
    "by formula": "(b) as many of the surest as make (n + Σ(2π − 1))² / (n + m) largest",
    "soft": "(f) the same pairs, with the chance of being right as the target",
    "soft, all": "(f) the whole pool with such targets, all of one weight",
}
"""What differs from the rule in what is kept; the letters are those of the list of steps in docs/results.md."""
TRAININGS = {
    "chosen amount": "(b) the best of 0, 30, 60 and 100 % by the out-of-fold log loss of its fold models, each with its own labels",
    "60 or 100 %": "(b) the better of 60 and 100 % by the same log loss",
    "cross-labelled": "(f) labelled and chosen anew: each half of the pool by a model that has learnt the labels of the other half",
    "crossed folds": "(f) a second loop whose fold models learn their labels of one half of the pool each, and label the other half",
    "second loop": "nothing, but the run's second loop, where each fold model has learnt its labels of the whole pool",
    "doubly robust": "(f) the whole pool with such targets, and the seed undoes what they would get wrong of it",
    "gaps": "(f) a tenth of the words of self-labelled answers is left out",
    "mismatched": "(f) before it, once: an answer to each prompt of the pool against an answer to another, which needs no label",
}
"""The same pairs, or all, but learnt otherwise."""
STEPS = SELECTIONS | TRAININGS


def selections(scores: Floats, own: Floats, evidence: FoldEvidence, thresholds: ThresholdsSpec, minimum: int) -> dict[str, Selection]:
    """What each of `SELECTIONS` keeps.

    Args:
        scores: (2, pairs) raw logits of the first and the second answers, mean over the fold models.
        own: (2, pairs) the same of the seed model itself.
        evidence: What the fold models and the seed tell.
        thresholds: Those of the run.
        minimum: Fewest pairs that are worth an optimizer step.
    """

    def chosen(scores: Floats, evidence: FoldEvidence, share: float | None = None) -> Selection:
        shares = {} if share is None else {"share": share}
        return most_confident(scores[0], scores[1], thresholds, evidence, minimum, **shares)

    alone, mean = own[0] - own[1], scores[0] - scores[1]
    as_it_is, everything = chosen(scores, evidence), chosen(scores, evidence, 1.0)
    flat = replace(evidence, differences=np.zeros_like(evidence.differences), pool_differences=np.zeros_like(evidence.pool_differences))
    return {
        AS_IT_IS: as_it_is,
        "own scores": chosen(own, replace(evidence, folds=alone[np.newaxis])),
        "no accord": chosen(scores, replace(evidence, folds=mean[np.newaxis])),
        "no length": chosen(scores, flat),
        "surest 30 %": chosen(scores, evidence, 0.3),
        "all": everything,
        "by formula": chosen(scores, evidence, amount(len(evidence.margins), everything.confidence) / len(mean)),
        "soft": replace(as_it_is, target=as_it_is.confidence),
        "soft, all": replace(everything, target=everything.confidence, weight=np.ones(len(mean))),
    }


def amount(labels: int, confidence: Floats) -> int:
    """The number m of self-labels, the surest first, that makes (n + Σ(2π − 1))² / (n + m) largest beside n labels."""
    worth = labels + np.concatenate([[0.0], np.cumsum(2 * np.sort(confidence)[::-1] - 1)])
    return int(np.argmax(worth**2 / (labels + np.arange(len(worth)))))
