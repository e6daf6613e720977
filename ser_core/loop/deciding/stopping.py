"""When the evolution ends, and which reward model is the best. Decided on the dev part of the seed alone.

Held-out accuracy and the agreement with hidden labels stand in the same records, and nothing here reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ser_core.api.serrun import LoopSpec, StoppingSpec
from ser_core.api.stage import Evaluation
from ser_core.api.status import IterationStatus, LearningStatus

SIGNIFICANT = 0.05
_DIGITS = 6


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


def best(iterations: Sequence[IterationStatus]) -> IterationStatus | None:
    """The loop with the highest dev accuracy; among equals that with the lowest dev loss, then the earliest. None before the first.

    Few dev pairs often give equal accuracies; the loss still tells the models apart.
    """
    evaluated = [iteration for iteration in iterations if iteration.dev_accuracy is not None]
    return max(evaluated, key=lambda row: (row.dev_accuracy or 0.0, -(row.dev_loss or 0.0), -row.iteration), default=None)


def gain(dev_accuracy: float, before: Sequence[IterationStatus]) -> float | None:
    """Dev accuracy minus that of the best reward model before; None for the seed model."""
    previous = best(before)
    if previous is None or previous.dev_accuracy is None:
        return None
    return ratio(dev_accuracy - previous.dev_accuracy)


def loops_without_gain(stopping: StoppingSpec, iterations: Sequence[IterationStatus]) -> int:
    """Loops in a row, up to the latest, that are not the best so far or add less than ``minGain`` to the best dev accuracy."""
    count = 0
    for number, iteration in reversed(tuple(enumerate(iterations, 1))):
        if iteration.gain is None or (iteration.gain >= stopping.min_gain and best(iterations[:number]) is iteration):
            break
        count += 1
    return count


def ending(loop: LoopSpec, iterations: Sequence[IterationStatus]) -> Ending | None:
    """Why the loops end after ``iterations``, the last of which is complete; None when another one follows."""
    last, stopping = iterations[-1], loop.stopping
    if last.learning_status is LearningStatus.STOP:
        return Ending("NothingTrusted", f"loop {last.iteration} found too few pairs to trust")
    without = loops_without_gain(stopping, iterations)
    if without > loop.patience:
        wanted = f"gained less than minGain {stopping.min_gain:g}" if stopping.min_gain else "gained nothing"
        return Ending("NoGain", f"{without} loop{'s' * (without > 1)} in a row {wanted} on dev (patience {loop.patience})")
    if without and _would_repeat(loop, iterations):
        return Ending("NoGain", f"loop {last.iteration} gained nothing on dev, and the next one, rolled back, would only repeat it")
    if last.iteration >= loop.max_iterations:
        return Ending("MaxIterations", f"maxIterations {loop.max_iterations} reached")
    return None


def _would_repeat(loop: LoopSpec, iterations: Sequence[IterationStatus]) -> bool:
    """Whether the next loop would be labelled by the same reward model as the last one, which then keeps and learns the same."""
    return loop.rolls_back and best(iterations) is best(iterations[:-1])


def evidence(dev: Evaluation, best_before: IterationStatus | None) -> str:
    """What a decision on this evaluation rests on: pairs, interval, difference, and whether that is significant (McNemar's exact test)."""
    text = f"dev accuracy {dev.accuracy:.4f} on {dev.pairs} pairs, 95 % interval {dev.accuracy_low:.3f} to {dev.accuracy_high:.3f}"
    if best_before is None or best_before.dev_accuracy is None:
        return text
    change = ratio(dev.accuracy - best_before.dev_accuracy)
    text += f"; {f'{change:+.4f} against' if change else 'the same as'} {loop_name(best_before)}"
    if not change and best_before.dev_loss is not None:
        text += f", log loss {dev.log_loss:.4f} against {best_before.dev_loss:.4f}"
    if dev.versus_best is None:
        return text
    verdict = "significant" if dev.versus_best.p_value < SIGNIFICANT else "not significant"
    return f"{text} (McNemar p = {dev.versus_best.p_value:.3g}, {verdict})"
