"""How good a reward model is on labelled pairs: accuracy with its interval, calibration, and a paired comparison. Numpy alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_core.api.stage import Comparison, Evaluation
from ser_core.data.tables import EvaluatedPair
from ser_core.errors import QualityError
from ser_core.learn.trust.calibration import sigmoid

BINS = 10

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of similar confidence: the mean confidence, and the share that is right. Calibrated: they are equal."""

    confidence: float
    accuracy: float
    count: int


def evaluate(pairs: Sequence[EvaluatedPair], temperature: float, best: Sequence[EvaluatedPair] | None) -> Evaluation:
    """One reward model on labelled pairs. A pair with equal scores counts as wrong.

    Args:
        pairs: The pairs with raw logits.
        temperature: Divides score differences into log odds.
        best: The same pairs as the best reward model so far scores them; None when there is none.

    Raises:
        QualityError: There are no pairs, scores are not finite, or ``best`` holds other pairs.
    """
    difference = _differences(pairs)
    right = int(np.count_nonzero(difference > 0))
    low, high = wilson(right, len(pairs))
    bins = calibration_curve(difference / temperature)
    return Evaluation(
        pairs=len(pairs),
        accuracy=right / len(pairs),
        accuracy_low=low,
        accuracy_high=high,
        length_only_accuracy=length_only(pairs),
        calibration_error=sum(item.count * abs(item.confidence - item.accuracy) for item in bins) / len(pairs),
        log_loss=float(np.mean(np.logaddexp(0.0, -difference / temperature))),
        versus_best=None if best is None else compare(pairs, best),
    )


def report(pairs: Sequence[EvaluatedPair], temperature: float) -> dict[str, Any]:
    """What `evaluation.json` says beyond `Evaluation`: by source, by confidence, and by which answer is the longer one.

    ``sources``: rows of source, pairs, accuracy, low, high (95 %), lengthOnly. ``calibration``: rows of confidence, accuracy, count.
    ``lengthRelation``: rows of relation (chosenLonger, chosenShorter or equal), pairs, accuracy, low, high; empty groups are left out.

    Raises:
        QualityError: There are no pairs, or scores are not finite.
    """
    difference = _differences(pairs)
    sources = _groups(pairs, lambda pair: pair.source)
    relations = _groups(pairs, _length_relation)
    return {
        "sources": [{"source": name, **_accuracy(group), "lengthOnly": length_only(group)} for name, group in sources.items()],
        "calibration": [
            {"confidence": item.confidence, "accuracy": item.accuracy, "count": item.count}
            for item in calibration_curve(difference / temperature)
        ],
        "lengthRelation": [{"relation": name, **_accuracy(group)} for name, group in relations.items()],
    }


def wilson(right: int, pairs: int) -> tuple[float, float]:
    """95 % interval of a share by Wilson (1927). It stays within 0 … 1 and is honest for few pairs."""
    share = right / pairs
    spread = 1 + _Z**2 / pairs
    centre = (share + _Z**2 / (2 * pairs)) / spread
    half = _Z * np.sqrt(share * (1 - share) / pairs + _Z**2 / (4 * pairs**2)) / spread
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def mcnemar(only_this: int, only_best: int) -> float:
    """Exact two-sided p-value of McNemar's test: how surprising this split of the discordant pairs is for a fair coin."""
    discordant = only_this + only_best
    term = tail = 1
    for count in range(min(only_this, only_best)):
        term = term * (discordant - count) // (count + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << discordant))


def compare(pairs: Sequence[EvaluatedPair], best: Sequence[EvaluatedPair]) -> Comparison:
    """Paired comparison of two reward models on the same pairs, matched by id.

    Raises:
        QualityError: The two hold different pairs.
    """
    this, other = _right_by_id(pairs), _right_by_id(best)
    if this.keys() != other.keys():
        lonely = min(this.keys() ^ other.keys())
        raise QualityError(f"the reward models were evaluated on different pairs: only one of them has {lonely}", reason="PairsDiffer")
    only_this = sum(right and not other[name] for name, right in this.items())
    only_best = sum(right and not this[name] for name, right in other.items())
    return Comparison(only_this=only_this, only_best=only_best, p_value=mcnemar(only_this, only_best))


def length_only(pairs: Sequence[EvaluatedPair]) -> float:
    """Accuracy of the rule "the longer answer (in tokens) wins"; answers of equal length count half, as a coin would."""
    longer = np.array([np.sign(pair.tokens_chosen - pair.tokens_rejected) for pair in pairs])
    return float(np.mean((longer + 1) / 2))


def calibration_curve(log_odds: NDArray[np.float64]) -> list[Bin]:
    """At most `BINS` equally filled bins by rising confidence.

    Args:
        log_odds: (pairs,) score differences in units of the temperature; above zero: the model is right.
    """
    confidence, right = sigmoid(np.abs(log_odds)), log_odds > 0
    order = np.lexsort((right, confidence))
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return [Bin(float(confidence[part].mean()), float(right[part].mean()), len(part)) for part in parts]


def _differences(pairs: Sequence[EvaluatedPair]) -> NDArray[np.float64]:
    if not pairs:
        raise QualityError(
            "there is no labelled pair to evaluate on", reason="NoEvaluationPairs", hint="raise data.devFraction or heldoutFraction"
        )
    difference = np.array([pair.score_chosen - pair.score_rejected for pair in pairs], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(difference))
    if len(bad):
        raise QualityError(
            f"{len(bad)} of {len(pairs)} pairs have scores that are not finite, the first is {pairs[bad[0]].id}",
            reason="NonFiniteScores",
            hint="lower training.learningRate, or set rewardModel.precision to fp32",
        )
    return difference


def _right_by_id(pairs: Sequence[EvaluatedPair]) -> dict[str, bool]:
    return {pair.id: pair.score_chosen > pair.score_rejected for pair in pairs}


def _groups(pairs: Sequence[EvaluatedPair], key: Callable[[EvaluatedPair], str]) -> dict[str, list[EvaluatedPair]]:
    groups: dict[str, list[EvaluatedPair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return dict(sorted(groups.items()))


def _length_relation(pair: EvaluatedPair) -> str:
    if pair.tokens_chosen == pair.tokens_rejected:
        return "equal"
    return "chosenLonger" if pair.tokens_chosen > pair.tokens_rejected else "chosenShorter"


def _accuracy(pairs: Sequence[EvaluatedPair]) -> dict[str, Any]:
    right = sum(pair.score_chosen > pair.score_rejected for pair in pairs)
    low, high = wilson(right, len(pairs))
    return {"pairs": len(pairs), "accuracy": right / len(pairs), "low": low, "high": high}
