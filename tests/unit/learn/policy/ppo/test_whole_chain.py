"""From prompts to updates with real networks, padding, several micro-batches and a reward model of another tokenizer."""

from dataclasses import replace

import pytest
import torch
from unit.learn.policy.doubles import Judge, Watch, prompts

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings

SETTINGS = Settings(answers_per_step=7, answer_tokens=6, temperature=1.0, tokens_per_batch=40, epochs=1, policy_rate=1e-3, critic_rate=1e-3)
PROMPTS = prompts(3, 9, 1, 5, 12)
ADAPTERS = [None, AdapterSpec(rank=2, alpha=4)]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_ratio_is_exactly_one_before_the_first_optimizer_step(actors, judge, adapter):
    policy, critic, generator = actors(adapter)
    done = align(policy, critic, generator, PROMPTS, judge, SETTINGS, steps=1, watch=Watch()).state.history[0]
    assert done.updates == 1
    assert (done.approximate_kl, done.clipped) == (0.0, 0.0)
    assert done.kl == 0.0, "the policy is its own reference"
    assert done.explained_variance == 0.0, "the critic's values are zero"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_all_that_can_move_moves_and_the_reference_does_not(actors, judge, adapter):
    policy, critic, generator = actors(adapter)
    before = [{name: weight.detach().clone() for name, weight in network.network.named_parameters()} for network in (policy, critic)]
    batch = sequences([prompt.tokens for prompt in PROMPTS], [[5, 6], [7], [8, 9, 10], [], [11]], "cpu")
    with torch.no_grad():
        reference = policy.reference_log_probabilities(batch, 1.0)
    align(policy, critic, generator, PROMPTS, judge, SETTINGS, steps=3, watch=Watch())
    for owner, old in zip((policy, critic), before, strict=True):
        moved = {name for name, weight in owner.network.named_parameters() if not torch.equal(weight, old[name])}
        assert moved == {name for name, _ in owner.trainable()}
    with torch.no_grad():
        assert torch.equal(policy.reference_log_probabilities(batch, 1.0), reference)
        assert not torch.equal(policy.log_probabilities(batch, 1.0), reference)


def test_the_seed_alone_fixes_what_happens(actors, judge):
    found = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        found.append(align(*actors(), PROMPTS, judge, replace(SETTINGS, seed=seed), steps=2, watch=Watch()).state.history[-1].score)
    assert found[0] == found[1] != found[2]


def test_a_reward_that_can_be_had_is_had(actors):
    policy, critic, generator = actors()
    share = Judge(lambda _, answer: sum(character < "a" for character in answer) / max(1, len(answer)))
    settings = Settings(
        answers_per_step=32,
        answer_tokens=6,
        temperature=1.0,
        missing_end_penalty=0.0,
        policy_rate=2e-3,
        critic_rate=2e-3,
        epochs=2,
        kl_coefficient=0.01,
    )
    history = align(policy, critic, generator, PROMPTS, share, settings, steps=25, watch=Watch()).state.history
    assert sum(step.score for step in history[-3:]) / 3 > 1.5 * history[0].score
    assert history[-1].kl > 0
