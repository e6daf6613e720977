"""How good a reward model is on labelled pairs: accuracy with its interval, calibration, and a paired comparison. Numpy alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_core.api.spec.training import AGAINST_DIVERGENCE
from ser_core.api.stage import Comparison, Evaluation
from ser_core.data.tables import EvaluatedPair
from ser_core.errors import QualityError
from ser_core.learn.evaluation.calibration import sigmoid
from ser_core.learn.evaluation.groups.accuracy import accuracy_interval
from ser_core.learn.evaluation.groups.randomization import randomization_test
from ser_core.learn.evaluation.groups.table import table_of
from ser_core.learn.evaluation.margins import margins_of

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of similar confidence: the mean confidence, and the share that is right. Calibrated: they are equal."""

    confidence: float
    accuracy: float
    count: int


def evaluate(
    pairs: Sequence[EvaluatedPair], temperature: float, best: Sequence[EvaluatedPair] | None, groups: Mapping[str, str] | None = None
) -> Evaluation:
    """One reward model on labelled pairs. A pair with equal scores counts as wrong.

    Args:
        pairs: The pairs with raw logits.
        temperature: Divides score differences into log odds.
        best: The same pairs as the best reward model so far scores them; None when there is none.
        groups: Group of each pair; a pair that is missing is a group of its own. None: not known, so each pair counts for itself.

    Raises:
        QualityError: There are no pairs, scores are not finite, or ``best`` holds other pairs.
    """
    difference, known = _differences(pairs), groups or {}
    right = right_by_id(pairs)
    table = table_of(right, known)
    low, high = accuracy_interval(table)
    bins = calibration_curve(difference / temperature)
    return Evaluation(
        pairs=len(pairs),
        accuracy=sum(right.values()) / len(pairs),
        accuracy_low=low,
        accuracy_high=high,
        length_only_accuracy=length_only(pairs),
        calibration_error=sum(item.count * abs(item.confidence - item.accuracy) for item in bins) / len(pairs),
        log_loss=float(np.mean(np.logaddexp(0.0, -difference / temperature))),
        versus_best=None if best is None else compare(pairs, best, known),
        groups=None if groups is None else len(table),
    )


def report(pairs: Sequence[EvaluatedPair], temperature: float, groups: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `evaluation.json` says beyond `Evaluation`: by source, by confidence, and by which answer is the longer one.

    ``sources``: rows of source, pairs, accuracy, low, high (95 %), lengthOnly. ``calibration``: rows of confidence, accuracy, count.
    ``lengthRelation``: rows of relation (chosenLonger, chosenShorter or equal), pairs, accuracy, low, high; what no pair is is left out.
    Arguments as for `evaluate`.

    Raises:
        QualityError: There are no pairs, or scores are not finite.
    """
    difference = _differences(pairs)
    sources = _parted(pairs, lambda pair: pair.source)
    relations = _parted(pairs, _length_relation)
    known = groups or {}
    return {
        "sources": [{"source": name, **_accuracy(part, known), "lengthOnly": length_only(part)} for name, part in sources.items()],
        "calibration": [
            {"confidence": item.confidence, "accuracy": item.accuracy, "count": item.count}
            for item in calibration_curve(difference / temperature)
        ],
        "lengthRelation": [{"relation": name, **_accuracy(part, known)} for name, part in relations.items()],
    }


def compare(pairs: Sequence[EvaluatedPair], best: Sequence[EvaluatedPair], groups: Mapping[str, str]) -> Comparison:
    """Paired comparison of two reward models on the same pairs, matched by id; ``groups`` as for `evaluate`.

    Raises:
        QualityError: The two hold different pairs.
    """
    this, other = right_by_id(pairs), right_by_id(best)
    if this.keys() != other.keys():
        lonely = min(this.keys() ^ other.keys())
        raise QualityError(f"the reward models were evaluated on different pairs: only one of them has {lonely}", reason="PairsDiffer")
    only_this = sum(right and not other[name] for name, right in this.items())
    only_best = sum(right and not this[name] for name, right in other.items())
    sums = table_of({name: right - other[name] for name, right in this.items()}, groups)[:, 0]
    return Comparison(only_this=only_this, only_best=only_best, p_value=randomization_test(sums))


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
    difference = margins_of(pairs)
    bad = np.flatnonzero(~np.isfinite(difference))
    if len(bad):
        raise QualityError(
            f"{len(bad)} of {len(pairs)} pairs have scores that are not finite, the first is {pairs[bad[0]].id}",
            reason="NonFiniteScores",
            hint=AGAINST_DIVERGENCE,
        )
    return difference


def right_by_id(pairs: Sequence[EvaluatedPair]) -> dict[str, bool]:
    """Whether the reward model is right, by pair."""
    return {pair.id: pair.score_chosen > pair.score_rejected for pair in pairs}


def _parted(pairs: Sequence[EvaluatedPair], key: Callable[[EvaluatedPair], str]) -> dict[str, list[EvaluatedPair]]:
    parts: dict[str, list[EvaluatedPair]] = {}
    for pair in pairs:
        parts.setdefault(key(pair), []).append(pair)
    return dict(sorted(parts.items()))


def _length_relation(pair: EvaluatedPair) -> str:
    if pair.tokens_chosen == pair.tokens_rejected:
        return "equal"
    return "chosenLonger" if pair.tokens_chosen > pair.tokens_rejected else "chosenShorter"


def _accuracy(pairs: Sequence[EvaluatedPair], groups: Mapping[str, str]) -> dict[str, Any]:
    right = right_by_id(pairs)
    low, high = accuracy_interval(table_of(right, groups))
    return {"pairs": len(pairs), "accuracy": sum(right.values()) / len(pairs), "low": low, "high": high}
