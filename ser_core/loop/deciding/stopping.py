"""When the evolution ends, and which reward model is the best. Decided on labels of the seed alone: its dev part, or out-of-fold scores.

Held-out accuracy and the agreement with hidden labels stand in the same records, and nothing here reads them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ser_core.api.spec.loop import LoopSpec, Rule, StoppingSpec
from ser_core.api.stage import Evaluation, RetrainMetrics
from ser_core.api.status import IterationStatus, LearningStatus
from ser_core.loop.deciding.significance import SIGNIFICANT, Z95, p_text

_DIGITS = 6
_NO_MODEL = "gave a reward model that does not hold"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why there is no further loop."""

    reason: str
    message: str


def ratio(value: float) -> float:
    """``value`` as the status keeps it. Rounded, so that 0.83 - 0.81 is the 0.02 that a user asks for."""
    return round(value, _DIGITS)


def loop_name(row: IterationStatus) -> str:
    """A loop's reward model as messages name it."""
    return f"loop {row.iteration}" if row.iteration else "the seed model"


def does_not_hold(row: IterationStatus) -> str:
    """What is added to the name of a reward model that does not hold; empty: it holds."""
    return ", which does not hold" if row.collapsed else ""


def best(iterations: Sequence[IterationStatus]) -> IterationStatus | None:
    """The loop with the highest dev accuracy; among equals that with the lowest dev loss, then the earliest. None before the first.

    One that does not hold comes after all that hold: where fold models decide, their scores say nothing of the reward model itself.

    Few dev pairs often give equal accuracies; the loss still tells the models apart. Of cross-fitted models it is the latest loop whose
    out-of-fold log loss is not worse than that of the best before it by more than a standard error: self-labels help more often than not,
    and on a few hundred pairs a model that is a little better looks worse in a third of the cases.
    """
    found: IterationStatus | None = None
    for row in iterations:
        if row.dev_accuracy is not None and (found is None or _is_better(row, found)):
            found = row
    return found


def _is_better(row: IterationStatus, before: IterationStatus) -> bool:
    if row.collapsed != before.collapsed:
        return before.collapsed
    if row.loss_gain is not None:
        return _not_worse(row, row.loss_gain)
    return _rank(row) > _rank(before)


def _not_worse(row: IterationStatus, loss_gain: float) -> bool:
    return loss_gain >= -(row.loss_gain_error or 0.0)


def _rank(row: IterationStatus) -> tuple[float, float]:
    return row.dev_accuracy or 0.0, -(row.dev_loss or 0.0)


def gain(dev_accuracy: float, before: Sequence[IterationStatus]) -> float | None:
    """Dev accuracy minus that of the best reward model before; None for the seed model."""
    previous = best(before)
    if previous is None or previous.dev_accuracy is None:
        return None
    return ratio(dev_accuracy - previous.dev_accuracy)


def cross_fitted(iterations: Sequence[IterationStatus]) -> bool:
    """Whether this run's reward models have fold models beside them. What its stages report says so, whatever they were told."""
    return bool(iterations) and iterations[0].folds is not None


def rolls_back(loop: LoopSpec, iterations: Sequence[IterationStatus]) -> bool:
    """True when the best reward model labels, false when the latest does."""
    if loop.stopping.rollback is not None:
        return loop.stopping.rollback == "best"
    return loop.rule is Rule.CALIBRATED and not cross_fitted(iterations)


def loops_without_gain(stopping: StoppingSpec, iterations: Sequence[IterationStatus]) -> int:
    """Loops in a row, up to the latest, that are not the best so far or add less than ``minGain`` to the best dev accuracy.

    Of cross-fitted models those count whose out-of-fold log loss is worse than the best before by more than a standard error. A loop whose
    model does not hold counts, the first one whose model holds does not.
    """
    count = 0
    for number, iteration in reversed(tuple(enumerate(iterations, 1))):
        if iteration.gain is None or _gains(iteration, stopping, iterations[: number - 1]):
            break
        count += 1
    return count


def falls(iterations: Sequence[IterationStatus]) -> int:
    """Newest loops in a row that each got worse: have a lower dev accuracy than the loop before.

    Of cross-fitted models those whose out-of-fold log loss is worse than the best before by more than a standard error: their accuracy
    falls in half of the loops that gain.
    """
    count = 0
    for before, row in reversed(tuple(pairwise(row for row in iterations if row.dev_accuracy is not None))):
        if _not_worse(row, row.loss_gain) if row.loss_gain is not None else (row.dev_accuracy or 0.0) >= (before.dev_accuracy or 0.0):
            break
        count += 1
    return count


def _gains(row: IterationStatus, stopping: StoppingSpec, earlier: Sequence[IterationStatus]) -> bool:
    before = best(earlier)
    if row.collapsed or before is None or before.collapsed:
        return not row.collapsed
    enough = row.loss_gain is not None or (row.gain or 0.0) >= stopping.min_gain
    return enough and _is_better(row, before)


def ending(loop: LoopSpec, iterations: Sequence[IterationStatus]) -> Ending | None:
    """Why the loops end after ``iterations``, the last of which is complete; None when another one follows."""
    last, stopping = iterations[-1], loop.stopping
    if last.learning_status is LearningStatus.STOP:
        return Ending("NothingTrusted", f"loop {last.iteration} found too few pairs to trust")
    without = loops_without_gain(stopping, iterations)
    if without > loop.patience:
        missed = _missed(stopping, iterations[-without:])
        return Ending("NoGain", f"{without} loop{'s' * (without > 1)} in a row {missed} (patience {loop.patience})")
    if rolls_back(loop, iterations) and best(iterations) is best(iterations[:-1]):
        nothing = _NO_MODEL if last.collapsed else "gained nothing on dev"
        return Ending("NoGain", f"loop {last.iteration} {nothing}, and the next one, rolled back, would only repeat it")
    if last.iteration >= loop.max_iterations:
        return Ending("MaxIterations", f"maxIterations {loop.max_iterations} reached")
    return None


def _missed(stopping: StoppingSpec, loops: Sequence[IterationStatus]) -> str:
    """What each of the last loops did not reach."""
    if all(row.collapsed for row in loops):
        return _NO_MODEL
    if loops[-1].loss_gain is not None:
        told = "had a higher out-of-fold log loss than the best one by more than a standard error"
    else:
        told = f"gained {f'less than minGain {stopping.min_gain:g}' if stopping.min_gain else 'nothing'} on dev"
    return f"{told} or {_NO_MODEL}" if any(row.collapsed for row in loops) else told


def loss_change(gain: float, error: float) -> str:
    """A difference of out-of-fold log losses in words, and whether it is more than chance gives once in twenty."""
    verdict = "significant" if abs(gain) > Z95 * error else "not significant"
    return f"{'lower' if gain >= 0 else 'higher'} by {abs(gain):.4f} (standard error {error:.4f}, {verdict})"


def beside_a_coin(dev: Evaluation) -> str:
    """What is said of a log loss that a coin reaches too: two models may differ by more than chance there and both know nothing."""
    coin = round(math.log(2), 4)
    return f" (a coin's is {coin})" if round(dev.log_loss, 4) >= coin else ""


def evidence(metrics: RetrainMetrics, best_before: IterationStatus | None) -> str:
    """What a decision on this reward model rests on: pairs, interval, difference, and whether that is more than chance.

    Of cross-fitted models the difference of log losses with its standard error; else the paired test of accuracies.
    """
    dev = metrics.dev
    name = "dev" if metrics.folds is None else f"out-of-fold ({metrics.folds} folds)"
    text = f"{name} accuracy {dev.accuracy:.4f} on {dev.pairs} pairs, 95 % interval {dev.accuracy_low:.3f} to {dev.accuracy_high:.3f}"
    if best_before is None or best_before.dev_accuracy is None:
        return text
    change = ratio(dev.accuracy - best_before.dev_accuracy)
    text += f"; {f'{change:+.4f} against' if change else 'the same as'} {loop_name(best_before)}{does_not_hold(best_before)}"
    if metrics.loss_gain is not None:
        return f"{text}, log loss {dev.log_loss:.4f}{beside_a_coin(dev)}, {loss_change(metrics.loss_gain, metrics.loss_gain_error or 0.0)}"
    if not change and best_before.dev_loss is not None:
        text += f", log loss {dev.log_loss:.4f} against {best_before.dev_loss:.4f}"
    if dev.versus_best is None:
        return text
    verdict = "significant" if dev.versus_best.p_value < SIGNIFICANT else "not significant"
    return f"{text} ({p_text(dev.versus_best.p_value)}, {verdict})"
