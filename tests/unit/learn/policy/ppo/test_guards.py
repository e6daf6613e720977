import math
from dataclasses import fields, replace

import pytest

from ser_core.learn.policy.ppo.guards import Action, HackingLimits, Ladder, Limits, climb, hacking_sign, worth_keeping
from ser_core.learn.policy.ppo.metrics import StepMetrics

LIMITS = HackingLimits(window=2, length_factor=3.0, kl=10.0, witness_drop=0.5)
STEP = StepMetrics(**{field.name: 0.0 for field in fields(StepMetrics)} | {"witness_score": None, "answer_tokens": 10.0})


def steps(**columns: list[float | None]) -> list[StepMetrics]:
    return [replace(STEP, **dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def test_the_ladder_skips_then_rolls_back_then_stops():
    ladder, taken = Ladder(), []
    for _ in range(6):
        ladder, action = climb(ladder, finite=False, limits=Limits(skips=1, roll_backs=2))
        taken.append((action, ladder.rate_factor))
    assert taken == [
        (Action.SKIP, 1.0),
        (Action.ROLL_BACK, 0.5),
        (Action.SKIP, 0.5),
        (Action.ROLL_BACK, 0.25),
        (Action.SKIP, 0.25),
        (Action.STOP, 0.25),
    ]


def test_a_finite_step_ends_a_row_of_skips_but_forgives_no_roll_back():
    ladder, action = climb(Ladder(2, 1, 0.5), finite=True, limits=Limits())
    assert (ladder, action) == (Ladder(0, 1, 0.5), Action.PROCEED)


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        (steps(kl=[11.0]), None),  # less than a window
        (steps(kl=[11.0, 9.5]), "PolicyTooFar"),
        (steps(kl=[11.0, 8.5]), None),
        (steps(answer_tokens=[10, 10, 31, 31]), "LengthExplosion"),
        (steps(answer_tokens=[10, 10, 29, 30]), None),
        (steps(answer_tokens=[10, 10, 31]), None),  # windows overlap
        (steps(answer_tokens=[10, 10, 1.8, 1.8], ended=[1, 1, 1, 1]), "AnswersVanish"),
        (steps(answer_tokens=[10, 10, 2, 2], ended=[1, 1, 1, 1]), None),  # short, but there
        (steps(answer_tokens=[10, 10, 1.2], ended=[1, 1, 1]), None),  # windows overlap
        (steps(entropy=[2, 2, 0.1, 0.2]), "AnswersRepeat"),
        (steps(entropy=[2, 2, 0.2, 0.3]), None),
        (steps(entropy=[0, 0, 0, 0]), None),  # it always said the same
        (steps(distinct=[0.9, 0.9, 0.4, 0.4]), "AnswersAlike"),
        (steps(distinct=[0.9, 0.9, 0.5, 0.5]), None),
        (steps(distinct=[None, 0.9, 0.1, 0.1]), None),  # begun by version 0.1.0
        (steps(repeated=[0.1, 0.1, 0.4, 0.4]), "AnswersLoop"),
        (steps(repeated=[0.1, 0.1, 0.2, 0.3]), None),
        (steps(distinct_triples=[0.8, 0.8, 0.3, 0.3]), "AnswersGeneric"),
        (steps(distinct_triples=[0.8, 0.8, 0.4, 0.4]), None),
        (steps(distinct_triples=[None, 0.8, 0.1, 0.1]), None),
        (steps(witness_score=[1, 1, 0.4, 0.4], score=[0, 0, 1, 1]), "HeldoutScoreFalls"),
        (steps(witness_score=[1, 1, 0.6, 0.6], score=[0, 0, 1, 1]), None),  # a small fall
        (steps(witness_score=[1, 1, 0.4, 0.4], score=[2, 2, 1, 1]), None),  # the learnt score falls with it
        (steps(witness_score=[None, 1, 1, 0.4, 0.4], score=[0, 0, 0, 1, 1]), "HeldoutScoreFalls"),
        (steps(kl=[math.nan, 1, math.nan, 1]), None),
    ],
)
def test_signs_of_reward_hacking(history: list[StepMetrics], reason: str | None):
    sign = hacking_sign(history, LIMITS)
    assert (sign.reason if sign else None) == reason


@pytest.mark.parametrize(
    ("history", "kept"),
    [
        (steps(kl=[1.0]), False),  # within a window
        (steps(kl=[1.0, 1.0]), True),
        (steps(kl=[1.0, 1.0, 11.0, 11.0]), False),  # a sign
        (steps(skipped=[0, 1]), False),
        (steps(witness_score=[1, 1, 0.9, 0.9]), False),  # an earlier one was better
        (steps(witness_score=[1, 1, 0.9, 0.9, 1.0, 1.2]), True),
        (steps(witness_score=[1.0, 1.4, 1.4, 1.0, 1.25, 1.25]), True),  # the best window lies across two that were asked for
    ],
)
def test_what_is_kept_to_fall_back_to(history: list[StepMetrics], kept: bool):
    assert worth_keeping(history, LIMITS) is kept
