"""When PPO leaves out a step, goes back, or stops. Pure decisions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean

from ser_core.learn.policy.ppo.metrics import StepMetrics


class Action(StrEnum):
    """What to do with an optimizer step."""

    PROCEED = "proceed"
    SKIP = "skip"
    ROLL_BACK = "roll back"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Limits:
    """When the ladder's next rung is taken."""

    skips: int = 2
    """Steps in a row that are only skipped."""
    roll_backs: int = 3
    """Times that the last good weights are put back."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """How far up the ladder a run is."""

    skipped_in_a_row: int = 0
    roll_backs: int = 0
    rate_factor: float = 1.0
    """What learning rates are multiplied by."""


def climb(ladder: Ladder, *, finite: bool, limits: Limits) -> tuple[Ladder, Action]:
    """Decide on one step: skip it; after some skips in a row roll back and halve the rate; after some of those stop.

    Args:
        ladder: The state before.
        finite: Whether loss and gradient norm are finite.
        limits: The rungs.
    """
    if finite:
        return replace(ladder, skipped_in_a_row=0), Action.PROCEED
    if ladder.skipped_in_a_row < limits.skips:
        return replace(ladder, skipped_in_a_row=ladder.skipped_in_a_row + 1), Action.SKIP
    if ladder.roll_backs < limits.roll_backs:
        return Ladder(0, ladder.roll_backs + 1, ladder.rate_factor / 2), Action.ROLL_BACK
    return ladder, Action.STOP


@dataclass(frozen=True, slots=True)
class HackingLimits:
    """Bounds between learning and gaming the reward model. Windows are means over ``window`` PPO steps."""

    window: int = 5
    length_factor: float = 3.0
    """Answers may grow to this many times their length in the first window."""
    collapse: float = 0.1
    """To this share of what they were in the first window answers may shorten and the policy's entropy may fall. Below it answers are all
    but empty, or the same however often one samples; a smaller fall may be what the reward model was taught."""
    kl: float = 50.0
    """Largest distance of an answer from the reference, in nats."""
    heldout_drop: float = 0.5
    """How far the held-out score may fall below its best window while the learnt score is no lower than it was then, in logits."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of reward hacking, or that the policy has collapsed."""

    reason: str
    """CamelCase code."""
    message: str


def hacking_sign(history: Sequence[StepMetrics], limits: HackingLimits) -> Sign | None:
    """The first sign in the last window, if there is one. Needs a whole window; what is compared with the first window needs two."""
    if len(history) < limits.window:
        return None
    now = history[-limits.window :]
    distance = fmean(step.kl for step in now)
    if distance > limits.kl:
        return Sign("PolicyTooFar", f"answers are {distance:.3g} nats from the reference, more than {limits.kl:g}")
    if len(history) < 2 * limits.window:
        return None
    length, first = (fmean(step.answer_tokens for step in part) for part in (now, history[: limits.window]))
    if length > limits.length_factor * first:
        return Sign("LengthExplosion", f"answers have {length:.0f} tokens, at first they had {first:.0f}")
    return _collapse(now, history[: limits.window], limits) or _heldout_falls(history, limits)


def _collapse(now: Sequence[StepMetrics], first: Sequence[StepMetrics], limits: HackingLimits) -> Sign | None:
    words, before = (fmean(step.answer_tokens - step.ended for step in part) for part in (now, first))
    if words < limits.collapse * before:
        return Sign("AnswersVanish", f"answers have {words:.2g} tokens before their end, at first they had {before:.3g}")
    entropy, before = (fmean(step.entropy for step in part) for part in (now, first))
    if entropy < limits.collapse * before:
        return Sign("AnswersRepeat", f"the entropy of a token is {entropy:.2g} nats, at first it was {before:.2g}: answers hardly vary")
    return None


def _heldout_falls(history: Sequence[StepMetrics], limits: HackingLimits) -> Sign | None:
    known = [step for step in history if step.heldout_score is not None]
    if len(known) < 2 * limits.window:
        return None
    heldout = _windows(known, limits.window, _heldout)
    learnt = _windows(known, limits.window, lambda step: step.score)
    best = max(range(len(heldout)), key=lambda place: heldout[place])
    drop = heldout[best] - heldout[-1]
    if drop > limits.heldout_drop and learnt[-1] >= learnt[best]:
        return Sign("HeldoutScoreFalls", f"the held-out score fell by {drop:.3g} from its best while the learnt score did not")
    return None


def worth_keeping(history: Sequence[StepMetrics], limits: HackingLimits) -> bool:
    """Whether to fall back to the policy after the last step, should a later one go wrong.

    Only at the end of a window in which nothing was left out, without a sign of reward hacking, and, where a held-out score is known, if no
    such window was better.
    """
    window = history[-limits.window :]
    if len(history) % limits.window or any(step.skipped for step in window) or hacking_sign(history, limits):
        return False
    if any(step.heldout_score is None for step in window):
        return True
    heldout = _windows([step for step in history if step.heldout_score is not None], limits.window, _heldout)
    return heldout[-1] >= max(heldout[:: limits.window])


def _heldout(step: StepMetrics) -> float:
    assert step.heldout_score is not None
    return step.heldout_score


def _windows(history: Sequence[StepMetrics], window: int, number: Callable[[StepMetrics], float]) -> list[float]:
    values = [number(step) for step in history]
    return [fmean(values[end - window : end]) for end in range(window, len(values) + 1)]
