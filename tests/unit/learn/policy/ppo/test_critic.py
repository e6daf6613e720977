from pathlib import Path

import pytest
import torch
from plain_models import write_plain
from transformers import AutoModelForCausalLM, AutoTokenizer
from unit.learn.policy.doubles import prompts

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.errors import SpecError
from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.policy.ppo.critic import load_critic, make_critic
from ser_core.learn.reward.batching import pad
from ser_core.learn.reward.reward_model import load

ADAPTERS = [None, AdapterSpec(rank=2, alpha=4)]
BATCH = sequences([list(prompt.tokens) for prompt in prompts(3, 1, 6)], [[5, 6], [7, 8, 9], []], "cpu")


@pytest.fixture(scope="module")
def exported(qwen: Path, bert: Path, fp32: Precision, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reward models as a run exports them."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("decoder", "encoder")}
    write_plain(load(qwen, fp32, max_length=64, seed=5), folders["decoder"])
    write_plain(load(bert, fp32, max_length=64, seed=5), folders["encoder"])
    return folders


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_reward_model_of_the_policys_kind_becomes_the_critic_and_says_what_it_scored(qwen, exported, fp32, adapter):
    tokenizer = AutoTokenizer.from_pretrained(qwen)
    critic, why = make_critic(exported["decoder"], qwen, fp32, tokenizer.get_vocab(), adapter=adapter)
    assert why == "the critic starts from the reward model"
    model = load(exported["decoder"], fp32, max_length=64)
    row = model.encoder.rows(["abc"], ["de"])[0]
    ids = row.tokens.tolist()
    with torch.no_grad():
        values = critic.values(sequences([ids[:4]], [[*ids[4:], 1]], "cpu"), score_mean=0.25)
        score = model.score(pad([row], model.tokenizer.pad_token_id))
    assert values[0, -1].item() == pytest.approx(score.item() - 0.25, abs=1e-5)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_any_other_reward_model_leaves_the_critic_to_the_policy_with_values_of_zero(qwen, exported, fp32, adapter):
    tokenizer = AutoTokenizer.from_pretrained(qwen)
    critic, why = make_critic(exported["encoder"], qwen, fp32, tokenizer.get_vocab(), adapter=adapter)
    assert "tokens have another id in it" in why
    assert why.endswith("the critic starts from the policy, with values of zero")
    values = critic.values(BATCH, score_mean=3.0)
    assert torch.equal(values, torch.zeros(3, 3))
    assert "score" in " ".join(name for name, _ in critic.trainable())


def test_a_model_that_sees_later_tokens_cannot_be_the_critic(bert, exported, fp32):
    with pytest.raises(SpecError, match="a token's hidden state depends on later tokens") as raised:
        load_critic(exported["encoder"], fp32, AutoTokenizer.from_pretrained(bert).get_vocab())
    assert raised.value.reason == "CriticNotSupported"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_exported_policy_is_the_aligned_one(qwen: Path, fp32: Precision, tmp_path: Path, adapter):
    policy = load_policy(qwen, fp32, adapter=adapter)
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.add_(0.05 * torch.randn_like(weight))
        expected = policy.log_probabilities(BATCH, 1.0)
        assert not torch.allclose(expected, policy.reference_log_probabilities(BATCH, 1.0), atol=1e-2)
        write_plain(policy, tmp_path)
        again = load_policy(tmp_path, fp32)
        torch.testing.assert_close(again.log_probabilities(BATCH, 1.0), expected, rtol=0, atol=1e-5)
    assert list(tmp_path.glob("*.safetensors"))
    assert again.tokenizer.get_vocab() == policy.tokenizer.get_vocab()
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.tie_word_embeddings


def test_dropout_is_off_everywhere(actors, judge):
    policy, critic, _ = actors()
    assert not any(network.training for network in (policy.network, policy.reference, critic.network, judge._model.network))
