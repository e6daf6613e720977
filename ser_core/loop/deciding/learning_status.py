"""Which learning status a loop is in, from counts alone (docs/architecture.md, "Learning rules").

The `filter` stage counts; these functions decide. They see no pair, no score and no label.
"""

from collections.abc import Sequence

from ser_core.api.spec.loop import Rule
from ser_core.api.spec.training import LOWER_RATE
from ser_core.api.status import IterationStatus, LearningStatus

EQUAL_SCORES = "all scores are equal"
"""In the note of a loop whose reward model has learnt nothing."""
SO_THAT_SCORES_DIFFER = f"{LOWER_RATE}, or raise rewardModel.maxLength where answers are cut before they differ"
"""What helps then."""
_NEARLY_NO_PAIR = 0.05


def decide(rule: Rule, status1: int, status2: int, kept: int, min_samples: int, minimum: int) -> LearningStatus:
    """Learning status of a loop; `STOP` means that there is nothing to train on.

    Args:
        rule: How pairs are chosen.
        status1: Pairs that meet Status 1 (arXiv 2411.00418, Eq. 3).
        status2: Pairs that meet Status 2.
        kept: Pairs that the rule would keep (reference: Status 1 or 2; calibrated: above the threshold; paper ignores it).
        min_samples: Pairs that a status needs under rule paper.
        minimum: Fewest pairs that are worth an optimizer step, under rule calibrated.
    """
    if rule is Rule.PAPER:
        return _paper(status1, status2, min_samples)
    if rule is Rule.REFERENCE:
        return _reference(status1, kept)
    return _calibrated(status1, status2, kept, minimum)


def has_learnt_nothing(iterations: Sequence[IterationStatus]) -> bool:
    """Whether the loops ended since what labelled the last one scores all answers alike.

    Then the scores of the pool do not differ in three decimals, and nearly no dev pair was right, since equal scores count as wrong; of
    these a model that has learnt too little has half.
    """
    labeled = iterations[-1] if iterations else None
    if labeled is None or labeled.learning_status is not LearningStatus.STOP or labeled.monitors is None or labeled.monitors.margin:
        return False
    return any(row.dev_accuracy is not None and row.dev_accuracy <= _NEARLY_NO_PAIR for row in iterations)


def _paper(status1: int, status2: int, min_samples: int) -> LearningStatus:
    """Status 1 while it has enough pairs, then Status 2, then Stop (arXiv 2411.00418, Eq. 3)."""
    if status1 >= min_samples:
        return LearningStatus.STATUS_1
    if status2 >= min_samples:
        return LearningStatus.STATUS_2
    return LearningStatus.STOP


def _reference(status1: int, kept: int) -> LearningStatus:
    """The released code keeps the union of both statuses and goes on while anything is kept."""
    if kept == 0:
        return LearningStatus.STOP
    return LearningStatus.STATUS_1 if status1 > 0 else LearningStatus.STATUS_2


def _calibrated(status1: int, status2: int, kept: int, minimum: int) -> LearningStatus:
    """Stop below one optimizer step's pairs.

    Otherwise Status 1 while the Status 1 pairs are at least half as many as the kept ones, else Status 2 while the Status 2 pairs are, else
    neither. That border is our own definition: the rule does not choose by status, it only keeps the curriculum visible.
    """
    if kept < minimum:
        return LearningStatus.STOP
    if 2 * status1 >= kept:
        return LearningStatus.STATUS_1
    return LearningStatus.STATUS_2 if 2 * status2 >= kept else LearningStatus.NEITHER
