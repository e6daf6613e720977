"""Policy, reference and critic on one frozen trunk."""

from pathlib import Path

import pytest
import torch
from plain_models import write_plain
from unit.learn.policy.doubles import Judge, Watch, prompts

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy import policy as policies
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.generation import TransformersGenerator
from ser_core.learn.policy.policy import Policy, load_policy
from ser_core.learn.policy.ppo import trunk
from ser_core.learn.policy.ppo.critic import Critic, make_critic
from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.learn.policy.ppo.trunk import share_trunk
from ser_core.learn.reward.reward_model import load

ADAPTER = AdapterSpec(rank=3, alpha=6)
HALF = Precision("cpu", torch.bfloat16)
BATCH = sequences([list(prompt.tokens) for prompt in prompts(3, 1, 6)], [[5, 6], [7, 8, 9], [4]], "cpu")


def reward_model(qwen: Path, fp32: Precision, folder: Path, adapter: AdapterSpec | None) -> Path:
    """A trained reward model of the policy's base, exported with its adapter merged."""
    model = load(qwen, fp32, max_length=64, adapter=adapter)
    torch.manual_seed(3)
    with torch.no_grad():
        for _, weight in model.trainable():
            weight.add_(0.05 * torch.randn_like(weight))
    write_plain(model, folder)
    return folder


def pair(qwen: Path, fp32: Precision, best: Path) -> tuple[Policy, Critic]:
    policy = load_policy(qwen, fp32, adapter=ADAPTER)
    return policy, make_critic(best, qwen, fp32, policy.tokenizer.get_vocab(), adapter=ADAPTER)[0]


def memory(network: torch.nn.Module) -> set[int]:
    return {weight.data_ptr() for weight in network.parameters() if not weight.requires_grad}


def test_a_reward_model_with_a_merged_adapter_shares_its_whole_trunk_and_values_stay(qwen: Path, fp32: Precision, tmp_path: Path):
    policy, critic = pair(qwen, fp32, reward_model(qwen, fp32, tmp_path, AdapterSpec(rank=2, alpha=4)))
    with torch.no_grad():
        expected = critic.values(BATCH, 0.0)
        share = share_trunk(policy, critic, qwen)
        torch.testing.assert_close(critic.values(BATCH, 0.0), expected, rtol=0, atol=1e-5)
    assert expected.abs().max() > 0.01
    own = sum(weight.numel() for name, weight in critic.network.named_parameters() if "original_module" in name)
    total = sum(weight.numel() for weight in critic.network.parameters() if not weight.requires_grad)
    assert share == pytest.approx(1 - own / total, abs=1e-5), "all but the untouched copy of the head"
    assert len(memory(critic.network) - memory(policy.network)) <= 1


def test_a_critic_that_starts_from_the_policy_shares_its_whole_trunk(qwen: Path, bert: Path, fp32: Precision, tmp_path: Path):
    write_plain(load(bert, fp32, max_length=64), tmp_path)
    policy, critic = pair(qwen, fp32, tmp_path)
    assert share_trunk(policy, critic, qwen) > 0.99


@pytest.mark.parametrize("adapter", [None, AdapterSpec(rank=9, alpha=9)])
def test_a_reward_model_that_no_such_adapter_explains_keeps_its_own_matrices(qwen: Path, fp32: Precision, tmp_path: Path, adapter):
    policy, critic = pair(qwen, fp32, reward_model(qwen, fp32, tmp_path, adapter))
    with torch.no_grad():
        expected = critic.values(BATCH, 0.0)
        assert share_trunk(policy, critic, qwen) < 0.5
        assert torch.equal(critic.values(BATCH, 0.0), expected)


def test_training_leaves_the_shared_trunk_and_the_reference_alone(qwen: Path, fp32: Precision, tmp_path: Path):
    policy, critic = pair(qwen, fp32, reward_model(qwen, fp32, tmp_path, AdapterSpec(rank=2, alpha=4)))
    share_trunk(policy, critic, qwen)
    frozen = {name: weight.clone() for name, weight in policy.network.named_parameters() if not weight.requires_grad}
    with torch.no_grad():
        reference, values = policy.log_probabilities(BATCH, 1.0), critic.values(BATCH, 0.0)
    settings = Settings(answers_per_step=6, answer_tokens=5, policy_rate=1e-2, critic_rate=1e-2)
    generator = TransformersGenerator(policy.network, pad_token=0, end_tokens=policy.end_tokens, device="cpu")
    align(policy, critic, generator, prompts(3, 9, 1), Judge(lambda _, text: len(text)), settings, steps=2, watch=Watch())
    assert all(torch.equal(weight, frozen[name]) for name, weight in policy.network.named_parameters() if name in frozen)
    with torch.no_grad():
        assert torch.equal(policy.reference_log_probabilities(BATCH, 1.0), reference)
        assert not torch.allclose(policy.log_probabilities(BATCH, 1.0), reference, atol=1e-3)
        assert not torch.allclose(critic.values(BATCH, 0.0), values, atol=1e-3)


def aligned(qwen: Path, best: Path) -> list[torch.Tensor]:
    """What two steps make of the adapters on a shared trunk, with bf16 products."""
    policy, critic = pair(qwen, HALF, best)
    assert share_trunk(policy, critic, qwen) > 0.9
    settings = Settings(answers_per_step=6, answer_tokens=5, policy_rate=1e-2, critic_rate=1e-2)
    generator = TransformersGenerator(policy.network, pad_token=0, end_tokens=policy.end_tokens, device="cpu", autocast=HALF.autocast)
    align(policy, critic, generator, prompts(3, 9, 1), Judge(lambda _, text: len(text)), settings, steps=2, watch=Watch())
    return [weight.detach() for owner in (policy, critic) for _, weight in owner.trainable()]


@pytest.mark.parametrize("merged", [False, True])
def test_on_a_trunk_kept_as_it_is_multiplied_both_learn_the_same_bits(
    qwen: Path, bert: Path, fp32: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: bool
):
    adapter = AdapterSpec(rank=2, alpha=4)
    best = reward_model(qwen if merged else bert, fp32, tmp_path, adapter)
    narrow = aligned(qwen, best)
    for module in (policies, trunk):
        monkeypatch.setattr(module, "narrow_frozen", lambda network, _: network)
    wide = aligned(qwen, best)
    assert all(torch.equal(one, other) for one, other in zip(narrow, wide, strict=True))


def test_a_trunk_kept_as_it_is_multiplied_is_shared_whole(qwen: Path, fp32: Precision, tmp_path: Path):
    policy, critic = pair(qwen, HALF, reward_model(qwen, fp32, tmp_path, AdapterSpec(rank=2, alpha=4)))
    assert share_trunk(policy, critic, qwen) > 0.9
    assert len(memory(critic.network) - memory(policy.network)) <= 1
    assert {weight.dtype for weight in critic.network.parameters() if not weight.requires_grad} == {torch.bfloat16, torch.float32}
    assert all(weight.dtype == torch.float32 for _, weight in critic.trainable())
