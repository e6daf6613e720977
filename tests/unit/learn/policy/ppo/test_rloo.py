"""Alignment without a critic: an answer is compared with the others to its prompt."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from unit.learn.policy.doubles import Judge, Script, Watch, prompts, table
from unit.learn.policy.ppo.test_updates import TOY, Gradients

from ser_core.learn.policy.ppo.arithmetic import leave_one_out
from ser_core.learn.policy.ppo.ppo import align

RLOO = replace(TOY, advantage="rloo", answers_per_step=4, answers_per_prompt=2, answer_tokens=1)


def test_an_advantage_is_the_reward_less_the_mean_of_the_others_to_the_prompt():
    rewards = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0]
    found = leave_one_out(torch.tensor(rewards), np.arange(6), answers=6, per_prompt=3).tolist()
    for number, reward in enumerate(rewards):
        first = number // 3 * 3
        others = [rewards[other] for other in range(first, first + 3) if other != number]
        assert found[number] == pytest.approx(reward - sum(others) / len(others))


def test_the_gradient_of_two_prompts_equals_the_one_computed_by_hand():
    """Answers 1 and 2 earn 1 and 4 at the first prompt, and the same at the second: advantages -3, 3, -3, 3, over four tokens."""
    policy, _ = table([0.0, 0.3, -0.2, 1.0])
    answers = iter([1, 2] * 2)
    watch = Gradients(policy)
    judge = Judge(lambda _, answer: 1.0 if answer == "1" else 4.0)
    align(policy, None, Script(lambda _: [next(answers)]), prompts(3, 5), judge, RLOO, steps=1, watch=watch)
    expected = torch.tensor([0.0, 6.0, -6.0, 0.0]) / (4 * 0.5)
    torch.testing.assert_close(watch.found[0]["logits"], expected, rtol=0, atol=1e-5)


def test_the_kl_penalty_is_part_of_what_is_compared():
    policy, _ = table([0.0, 2.0, -1.0, 0.0])
    policy.reference.logits.data.zero_()
    answers = iter([1, 2])
    watch, settings = Gradients(policy), replace(RLOO, answers_per_step=2, kl_coefficient=0.5)
    align(policy, None, Script(lambda _: [next(answers)]), prompts(3), Judge(lambda *_: 0.0), settings, steps=1, watch=watch)
    apart = 0.5 * (2.0 + 1.0) / 0.5  # the penalties of the two tokens differ by this; the temperature divides their logits
    torch.testing.assert_close(watch.found[0]["logits"], torch.tensor([0.0, apart, -apart, 0.0]) / (2 * 0.5), rtol=0, atol=1e-4)


def test_each_prompt_of_a_step_is_answered_several_times():
    policy, _ = table([0.0] * 4)
    asked: list[str] = []
    judge = Judge(lambda prompt, _: float(bool(asked.append(prompt))))
    align(policy, None, Script(lambda _: [1]), prompts(1, 2, 3, 4), judge, RLOO, steps=2, watch=Watch())
    assert len(asked) == 8
    assert all(asked[number] == asked[number + 1] for number in range(0, 8, 2))
    assert len(set(asked)) == 4


def test_numbers_of_a_critic_are_absent():
    watch = Watch(always_due=True)
    done = align(table([0.0] * 4)[0], None, Script(lambda _: [1]), prompts(1, 2), Judge(lambda *_: 1.0), RLOO, steps=1, watch=watch).state
    step = done.history[0]
    assert (step.value_loss, step.explained_variance, step.critic_gradient_norm) == (None, None, None)
    assert step.updates == 1
    assert watch.saved[0].critic == {}
