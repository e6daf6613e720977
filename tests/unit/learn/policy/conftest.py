"""A tiny causal policy with a critic and a reward model of another tokenizer, as the quickstart has them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy.generation import TransformersGenerator
from ser_core.learn.policy.policy import Policy, load_policy
from ser_core.learn.policy.ppo.critic import Critic, critic_from_policy
from ser_core.learn.policy.scorers import RewardModelScorer
from ser_core.learn.reward.reward_model import load

Actors = tuple[Policy, Critic, TransformersGenerator]


@pytest.fixture
def actors(qwen: Path, fp32: Precision) -> Callable[[AdapterSpec | None], Actors]:
    """Makes the same policy, critic and generator each time."""

    def make(adapter: AdapterSpec | None = None) -> Actors:
        policy = load_policy(qwen, fp32, adapter=adapter)
        generator = TransformersGenerator(
            policy.network, pad_token=policy.end_tokens[0], end_tokens=policy.end_tokens, device="cpu", rows=3
        )
        return policy, critic_from_policy(qwen, fp32, adapter=adapter), generator

    return make


@pytest.fixture(scope="session")
def judge(bert: Path, fp32: Precision) -> RewardModelScorer:
    return RewardModelScorer(load(bert, fp32, max_length=64), tokens_per_batch=512)
