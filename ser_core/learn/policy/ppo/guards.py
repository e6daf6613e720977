"""When PPO skips an optimizer step, rolls back to earlier weights, or stops. Pure functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean

from ser_core.api.stage import PolicyEvaluation
from ser_core.learn.policy.ppo.metrics import StepMetrics

COLLAPSE = 0.1
"""Smallest length of answers and smallest entropy, as a share of the same in the first window. Below it, answers are nearly empty or
nearly all the same. A smaller fall can be what the reward model rewards."""
DISTINCT = 0.5
"""Smallest share of different answers, as a share of the same in the first window."""
REPEATED = 0.2
"""Largest rise, over the first window, of the share of token triples that repeat an earlier one of the same answer."""
DISTINCT_TRIPLES = 0.5
"""Smallest share of different token triples among those of all answers, as a share of the same in the first window. Below it, answers
to different prompts are made of the same phrases."""


class Action(StrEnum):
    """What is done at an optimizer step."""

    PROCEED = "proceed"
    SKIP = "skip"
    ROLL_BACK = "roll back"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Limits:
    """How often PPO skips and rolls back before it stops."""

    skips: int = 2
    """Optimizer steps in a row that are only skipped. The next one leads to a roll-back."""
    roll_backs: int = 3
    """Roll-backs of a run: each puts the last good weights back. When one more would be needed, the run stops."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """What a run has done so far about steps that were not finite: first it skips, then it rolls back, at last it stops."""

    skipped_in_a_row: int = 0
    roll_backs: int = 0
    rate_factor: float = 1.0
    """Factor of the learning rates; every roll-back halves it."""


def climb(ladder: Ladder, *, finite: bool, limits: Limits) -> tuple[Ladder, Action]:
    """Decide on one optimizer step.

    A step that is not finite is skipped. After some skips in a row the run rolls back and halves its learning rates. After some
    roll-backs it stops.

    Args:
        ladder: The ladder before this step.
        finite: Whether loss and gradient norm are finite.
        limits: The number of skips and of roll-backs.

    Returns:
        The ladder after this step, and what to do.
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
    """Limits beyond which a policy is said to game its reward model. They are compared with means over windows of PPO steps."""

    window: int = 5
    """PPO steps of a window."""
    length_factor: float = 3.0
    """Largest length of answers, as a multiple of their length in the first window."""
    kl: float = 50.0
    """Largest KL divergence of a whole answer from the reference policy, in nats."""
    witness_drop: float = 0.5
    """Largest fall of the witness's score from its best window, in logits. It counts only if the reward model's score did not fall."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign that the policy games the reward model (reward hacking) or that the policy has collapsed."""

    reason: str
    """Code in CamelCase. It is stored, so it never changes."""
    message: str


def hacking_sign(history: Sequence[StepMetrics], limits: HackingLimits) -> Sign | None:
    """The first sign that the newest window shows; None: there is no sign.

    There must be one whole window of history. A comparison with the first window needs two windows, so that they do not overlap.
    """
    if len(history) < limits.window:
        return None
    now = history[-limits.window :]
    kl = fmean(step.kl for step in now)
    if kl > limits.kl:
        return Sign("PolicyTooFar", f"answers are {kl:.3g} nats from the reference policy, the limit is {limits.kl:g}")
    if len(history) < 2 * limits.window:
        return None
    length, first = (fmean(step.answer_tokens for step in part) for part in (now, history[: limits.window]))
    if length > limits.length_factor * first:
        return Sign("LengthExplosion", f"answers have {length:.0f} tokens on average, at first they had {first:.0f}")
    return _collapse(now, history[: limits.window]) or _witness_score_falls(history, limits)


def _collapse(now: Sequence[StepMetrics], first: Sequence[StepMetrics]) -> Sign | None:
    words, before = (fmean(step.answer_tokens - step.ended for step in part) for part in (now, first))
    if words < COLLAPSE * before:
        return Sign("AnswersVanish", f"answers have {words:.2g} tokens on average before the end token, at first they had {before:.3g}")
    entropy, before = (fmean(step.entropy for step in part) for part in (now, first))
    if entropy < COLLAPSE * before:
        return Sign("AnswersRepeat", f"the entropy is {entropy:.2g} nats per token, at first it was {before:.2g}: answers hardly differ")
    return _repetition(now, first)


def _repetition(now: Sequence[StepMetrics], first: Sequence[StepMetrics]) -> Sign | None:
    distinct, before = (_known([step.distinct for step in part]) for part in (now, first))
    if distinct is not None and before is not None and distinct < DISTINCT * before:
        return Sign("AnswersAlike", f"{distinct:.0%} of the answers are different ones, at first {before:.0%} were")
    repeated, before = (_known([step.repeated for step in part]) for part in (now, first))
    if repeated is not None and before is not None and repeated > before + REPEATED:
        return Sign("AnswersLoop", f"{repeated:.0%} of what an answer says stood in it before, at first it was {before:.0%}")
    triples, before = (_known([step.distinct_triples for step in part]) for part in (now, first))
    if triples is not None and before is not None and triples < DISTINCT_TRIPLES * before:
        return Sign(
            "AnswersGeneric", f"{triples:.0%} of what all answers say is said once, at first it was {before:.0%}: they share phrases"
        )
    return None


def why_alike(before: PolicyEvaluation, after: PolicyEvaluation) -> str:
    """What a user should know of a policy that says the same to different prompts; empty: it does not."""
    if before.distinct is None or after.distinct is None or after.distinct >= DISTINCT * before.distinct:
        return ""
    now, then = (f"{100 * share:.0f} %" for share in (after.distinct, before.distinct))
    return (
        f"of its answers to held-out prompts {now} are different ones, before PPO {then} were: it says the same to different prompts; "
        "a lower policy.learningRate or fewer policy.steps leave more of them"
    )


def _known(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return fmean(known) if len(known) == len(shares) else None


def _witness_score_falls(history: Sequence[StepMetrics], limits: HackingLimits) -> Sign | None:
    known = [step for step in history if step.witness_score is not None]
    if len(known) < 2 * limits.window:
        return None
    witness = _windows(known, limits.window, _witness_score)
    learnt = _windows(known, limits.window, lambda step: step.score)
    best = max(range(len(witness)), key=lambda place: witness[place])
    drop = witness[best] - witness[-1]
    if drop > limits.witness_drop and learnt[-1] >= learnt[best]:
        told = f"the score of the witness (the seed's reward model) fell by {drop:.3g} logits from its best"
        return Sign("HeldoutScoreFalls", f"{told}, but the score of the reward model that the policy learns from did not fall")
    return None


def worth_keeping(history: Sequence[StepMetrics], limits: HackingLimits) -> bool:
    """Whether the weights after the newest step are good weights, to fall back to when a later step goes wrong.

    They are good at the end of a window in which no optimizer step was skipped, and only without a sign of reward hacking. Where the
    witness's score is known, no earlier such window may have a better one.
    """
    window = history[-limits.window :]
    if len(history) % limits.window or any(step.skipped for step in window) or hacking_sign(history, limits):
        return False
    if any(step.witness_score is None for step in window):
        return True
    witness = _windows([step for step in history if step.witness_score is not None], limits.window, _witness_score)
    return witness[-1] >= max(witness[:: limits.window])


def _witness_score(step: StepMetrics) -> float:
    assert step.witness_score is not None
    return step.witness_score


def _windows(history: Sequence[StepMetrics], window: int, number: Callable[[StepMetrics], float]) -> list[float]:
    """Mean of a number over every window, the earliest first; windows overlap."""
    values = [number(step) for step in history]
    return [fmean(values[end - window : end]) for end in range(window, len(values) + 1)]
