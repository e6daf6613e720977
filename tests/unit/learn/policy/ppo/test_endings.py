"""How a step, or a whole run, goes wrong, and what is left then."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from unit.learn.policy.doubles import END, Judge, Script, Watch, prompts, table

from ser_core.errors import QualityError
from ser_core.learn.policy.ppo.arithmetic import adapted_coefficient
from ser_core.learn.policy.ppo.guards import HackingLimits, Limits
from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings

SETTINGS = Settings(
    answers_per_step=4,
    answer_tokens=2,
    epochs=1,
    policy_rate=0.1,
    critic_rate=0.1,
    step_kl_limit=None,
    ladder=Limits(skips=1, roll_backs=1),
    hacking=HackingLimits(window=2, kl=1e9, length_factor=1e9),
)
SCRIPT = Script(lambda prompt: [len(prompt), END])


def poisoned(policy, steps: set[int], per_step: int = 1) -> None:
    """Make the policy's gradient infinite in those backward passes, counted from 0."""
    seen = iter(range(10_000))
    policy.network.logits.register_hook(lambda gradient: gradient * torch.inf if next(seen) // per_step in steps else gradient)


def run(policy, critic, *, steps: int, settings: Settings = SETTINGS, judge: Judge | None = None, **more):
    return align(policy, critic, SCRIPT, prompts(1, 2, 3), judge or Judge(lambda _, text: float(text)), settings, steps=steps, **more)


def test_a_gradient_that_is_not_finite_is_skipped_and_spoils_nothing():
    policy, critic = table([0.0] * 4)
    poisoned(policy, {1})
    watch = Watch(always_due=True)
    history = run(policy, critic, steps=3, watch=watch).state.history
    assert [(step.updates, step.skipped, step.rolled_back) for step in history] == [(1, 0, False), (0, 1, False), (1, 0, False)]
    first, second, third = (state.policy["weight/logits"] for state in watch.saved)
    assert torch.equal(first, second)
    assert not torch.equal(second, third)
    assert torch.isfinite(third).all()


def test_after_some_skips_the_last_good_weights_are_put_back_at_half_the_rate():
    policy, critic = table([0.0] * 4)
    poisoned(policy, {3, 4})
    watch = Watch(always_due=True)
    done = run(policy, critic, steps=6, watch=watch).state
    good = watch.saved[1].policy["weight/logits"]  # the end of the first window
    assert [step.rolled_back for step in done.history] == [False, False, False, False, True, False]
    assert torch.equal(watch.saved[4].policy["weight/logits"], good)
    assert not torch.equal(watch.saved[3].policy["weight/logits"], good)
    assert [step.rate_factor for step in done.history[-2:]] == [0.5, 0.5]
    assert done.history[-1].updates == 1
    moved, full = (watch.saved[place].policy["weight/logits"] - before for place, before in ((5, good), (0, torch.zeros(4))))
    torch.testing.assert_close(moved.abs().max(), full.abs().max() / 2, rtol=0.01, atol=0)


def test_when_nothing_helps_the_run_ends_with_the_reason():
    policy, critic = table([0.0] * 4)
    poisoned(policy, set(range(100)))
    watch = Watch()
    with pytest.raises(QualityError, match=r"PPO step 4: .* not finite, also after 1 roll-backs") as raised:
        run(policy, critic, steps=9, watch=watch)
    assert raised.value.reason == "PolicyDiverged"
    assert len(watch.metrics) == 3


def test_scores_that_are_not_finite_cost_the_step_alone():
    policy, critic = table([0.0] * 4)
    scores = iter([1.0, 2.0, 3.0, 4.0, 1.0, float("nan"), 3.0, 4.0] + [1.0, 2.0, 3.0, 4.0] * 4)
    done = run(policy, critic, steps=4, judge=Judge(lambda *_: next(scores)), watch=Watch()).state
    assert [(step.updates, step.skipped) for step in done.history] == [(1, 0), (0, 1), (1, 0), (1, 0)]
    assert torch.isfinite(policy.network.logits).all()


def test_the_mean_that_scores_are_measured_from_is_never_that_of_a_step_that_is_not_finite():
    scores = iter([1.0, float("nan"), 3.0, 4.0, 1.0, 2.0, 3.0, 4.0])
    assert run(*table([0.0] * 4), steps=2, judge=Judge(lambda *_: next(scores)), watch=Watch()).state.score_mean == 2.5


def test_a_run_that_games_the_reward_model_ends_with_the_last_good_policy():
    policy, critic = table([0.0] * 4)
    witness = iter([1.0] * 8 + [0.9] * 8 + [-5.0] * 80)
    watch = Watch(always_due=True)
    done = run(policy, critic, steps=20, witness=Judge(lambda *_: next(witness)), watch=watch)
    assert done.sign is not None
    assert done.sign.reason == "HeldoutScoreFalls"
    assert done.state.good.step == 2
    assert torch.equal(policy.network.logits.detach(), watch.saved[1].policy["weight/logits"])


def test_an_adaptive_coefficient_follows_each_steps_distance():
    policy, critic = table([0.0] * 4)
    settings = replace(SETTINGS, kl_target=0.1, kl_horizon=10.0, kl_coefficient=0.1)
    history = run(policy, critic, steps=5, settings=settings, watch=Watch()).state.history
    for step, following in pairwise(history):
        assert following.kl_coefficient == adapted_coefficient(step.kl_coefficient, step.kl, 0.1, answers=4, horizon=10.0)
    assert len({step.kl_coefficient for step in history}) == 5


def test_the_coefficient_waits_until_the_policy_learns():
    settings = replace(SETTINGS, kl_target=0.1, kl_horizon=10.0, kl_coefficient=0.1, critic_warm_up=2)
    history = run(*table([0.0] * 4), steps=4, settings=settings, watch=Watch()).state.history
    assert [step.kl_coefficient == 0.1 for step in history] == [True, True, True, False]
