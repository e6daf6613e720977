"""vLLM as the generator. Most of it runs where vLLM is installed: `make vllm` does so, on its CPU engine, in an environment of its own."""

import copy
import shutil
from importlib.util import find_spec

import pytest
import torch

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.errors import SpecError
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.generation import until_end
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.policy.vllm_generation import VllmGenerator, plain_weights

needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed; make vllm runs this")
PROMPTS = [[5, 6, 7, 8], [9], [5, 6], [10, 11, 12]]


def move(policy, by=0.05):
    """Change the weights that training changes."""
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.add_(torch.randn_like(weight) * by)


@pytest.mark.parametrize("adapter", [None, AdapterSpec(rank=2, alpha=4)])
def test_an_engine_is_given_the_weights_that_an_export_would_have(qwen, fp32, adapter):
    policy = load_policy(qwen, fp32, adapter=adapter)
    move(policy)

    given = {name: weight.clone() for name, weight in plain_weights(policy.network)}

    merged = policy.network.merge_and_unload() if adapter else policy.network
    expected = dict(merged.named_parameters(remove_duplicate=False))
    assert given.keys() == expected.keys()
    assert all(torch.allclose(given[name], expected[name], atol=1e-6) for name in expected)


@pytest.fixture(scope="module")
def decoder(qwen, tmp_path_factory):
    """The tiny decoder with heads of 64 numbers, which vLLM's CPU engine has a kernel for; its head is tied."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("decoder")
    shutil.copytree(qwen, folder, dirs_exist_ok=True)
    torch.manual_seed(1)
    config = Qwen2Config.from_pretrained(qwen, hidden_size=128, num_attention_heads=2)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def only_engine(decoder, fp32):
    """A process cannot have two."""
    return VllmGenerator(load_policy(decoder, fp32), decoder, tokens=64, memory_share=0.05)


@pytest.fixture(params=[None, AdapterSpec(rank=2, alpha=4)], ids=["whole", "adapter"])
def engine(request, only_engine, decoder, fp32):
    policy, generator = load_policy(decoder, fp32, adapter=request.param), copy.copy(only_engine)
    generator._policy = policy
    return policy, generator


@needs_vllm
def test_answers_come_from_the_present_weights(engine):
    """`generate` compares probabilities itself; this asks for more: the likeliest tokens, one by one."""
    policy, generator = engine
    for _ in range(3):
        move(policy)
        answers = generator.generate(PROMPTS, tokens=12, temperature=0.01)  # so cold that chance has hardly a say
        cut = [until_end(answer, policy.end_tokens)[0] for answer in answers]
        with torch.no_grad():
            found = policy.log_probabilities(sequences(PROMPTS, cut, "cpu"), 0.01)
        assert cut == answers
        assert found.min() > -5  # another token than the likeliest lies tens of nats below it


@needs_vllm
def test_one_seed_gives_the_same_answers_again(engine):
    _, generator = engine

    def answers(seed):
        torch.manual_seed(seed)
        return generator.generate(PROMPTS, tokens=12, temperature=1.0)

    assert answers(1) == answers(1) != answers(2)


@needs_vllm
def test_samples_have_the_policys_distribution(engine):
    policy, generator = engine
    move(policy, by=0.3)
    torch.manual_seed(0)
    rows = 4000
    first = torch.tensor([answer[0] for answer in generator.generate([[5, 6, 7]] * rows, tokens=1, temperature=0.7)])
    with torch.no_grad():
        expected = (policy.network(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1].float() / 0.7).softmax(-1)
    seen = torch.bincount(first, minlength=len(expected)) / rows
    assert (seen - expected).abs().sum() < 2 * (expected * (1 - expected) / rows).sqrt().sum()


@needs_vllm
def test_an_engine_that_keeps_old_weights_is_found_out(engine, monkeypatch):
    policy, generator = engine
    generator.generate(PROMPTS, tokens=12, temperature=1.0)
    monkeypatch.setattr(generator._engine, "collective_rpc", lambda *_, **__: None)
    move(policy, by=1.0)

    with pytest.raises(SpecError, match="other weights than the policy's") as caught:
        generator.generate(PROMPTS, tokens=12, temperature=1.0)
    assert caught.value.reason == "GeneratorOutOfStep"
