import math

import pytest
import torch
from unit.learn.policy.doubles import Judge, Sampler, Watch, prompts, table

from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings

WITH_A_CRITIC = {"critic_rate": 0.02}
WITHOUT = {"advantage": "rloo", "answers_per_prompt": 8}


@pytest.mark.parametrize("advantage", [WITH_A_CRITIC, WITHOUT], ids=["gae", "rloo"])
def test_a_bandit_reaches_its_known_optimum(advantage):
    """The best policy under a weight b of the distance is known: ``reference * exp(score / b)``, normalised (arXiv 1909.08593)."""
    policy, critic = table([-20.0, 0.5, 0.0, -0.5])
    worth = {"1": 0.0, "2": 1.0, "3": 0.5}
    settings = Settings(
        answers_per_step=256,
        answer_tokens=1,
        temperature=1.0,
        kl_coefficient=0.5,
        missing_end_penalty=0.0,
        policy_rate=0.02,
        epochs=2,
        step_kl_limit=None,
        **advantage,
    )
    judge = Judge(lambda _, answer: worth.get(answer, -1.0))
    asked = critic if advantage is WITH_A_CRITIC else None
    align(policy, asked, Sampler(policy), prompts(3), judge, settings, steps=150, watch=Watch())
    best = torch.tensor([0.5 + worth["1"] / 0.5, 0.0 + worth["2"] / 0.5, -0.5 + worth["3"] / 0.5]).softmax(-1)
    assert math.isclose(best.sum().item(), 1.0, rel_tol=1e-6)
    torch.testing.assert_close(policy.network.logits.detach().softmax(-1)[1:], best, rtol=0, atol=0.05)
