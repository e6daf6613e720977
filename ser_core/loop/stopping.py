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


def best(iterations: Sequence[IterationStatus]) -> IterationStatus | None:
    """The iteration with the highest dev accuracy, the earlier one among equals; None before the first evaluation."""
    evaluated = [iteration for iteration in iterations if iteration.dev_accuracy is not None]
    return max(evaluated, key=lambda iteration: (iteration.dev_accuracy or 0.0, -iteration.iteration), default=None)


def gain(dev_accuracy: float, before: Sequence[IterationStatus]) -> float | None:
    """Dev accuracy minus that of the best reward model before; None for the seed model."""
    previous = best(before)
    if previous is None or previous.dev_accuracy is None:
        return None
    return ratio(dev_accuracy - previous.dev_accuracy)


def loops_without_gain(stopping: StoppingSpec, iterations: Sequence[IterationStatus]) -> int:
    """Loops in a row, up to the latest, that added less than ``minGain`` (with 0: nothing) to the best dev accuracy."""
    count = 0
    for iteration in reversed(iterations):
        if iteration.gain is None or (iteration.gain > 0 and iteration.gain >= stopping.min_gain):
            break
        count += 1
    return count


def ending(loop: LoopSpec, iterations: Sequence[IterationStatus]) -> Ending | None:
    """Why the loops end after ``iterations``, the last of which is complete; None when another one follows."""
    last = iterations[-1]
    if last.learning_status is LearningStatus.STOP:
        return Ending("NothingTrusted", f"loop {last.iteration} found too few pairs to trust")
    without = loops_without_gain(loop.stopping, iterations)
    if without > loop.stopping.patience:
        wanted = f"gained less than minGain {loop.stopping.min_gain:g}" if loop.stopping.min_gain else "gained nothing"
        return Ending("NoGain", f"{without} loop{'s' * (without > 1)} in a row {wanted} on dev (patience {loop.stopping.patience})")
    if last.iteration >= loop.max_iterations:
        return Ending("MaxIterations", f"maxIterations {loop.max_iterations} reached")
    return None


def evidence(dev: Evaluation, best_before: IterationStatus | None) -> str:
    """What a decision on this evaluation rests on: pairs, difference and whether that is significant (McNemar's exact test)."""
    text = f"dev accuracy {dev.accuracy:.4f} on {dev.pairs} pairs"
    if best_before is None or best_before.dev_accuracy is None:
        return text
    text += f", {dev.accuracy - best_before.dev_accuracy:+.4f} against iteration {best_before.iteration}"
    if dev.versus_best is None:
        return text
    verdict = "significant" if dev.versus_best.p_value < SIGNIFICANT else f"not significant on {dev.pairs} pairs"
    return f"{text} (McNemar p = {dev.versus_best.p_value:.3g}, {verdict})"
