"""A network that only scores keeps its matrices as they are multiplied, and scores the same to the last bit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from unit.learn.processes import StopsAfter, demonstrations
from unit.learn.reward.test_training import SPEC, pairs_of

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.api.spec.policy import SupervisedSpec
from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy import policy
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.policy import load_causal, load_policy
from ser_core.learn.policy.supervised import fine_tune
from ser_core.learn.reward import reward_model
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.scoring import score_rows
from ser_core.learn.reward.training import train

HALF = Precision("cpu", torch.bfloat16)


def test_frozen_matrices_are_bf16_and_scores_have_the_same_bits(base: Path):
    model, frozen = (load(base, HALF, max_length=64, seed=1, frozen=frozen) for frozen in (False, True))
    rows = [row for pair in pairs_of(model) for row in (pair.better, pair.worse)]

    assert (score_rows(model, rows, 256) == score_rows(frozen, rows, 256)).all()
    types = {weight.dtype for weight in frozen.network.base_model.parameters() if weight.ndim == 2}
    assert types == {torch.bfloat16, torch.float32}
    assert frozen.network.get_input_embeddings().weight.dtype == torch.float32
    assert not any(weight.requires_grad for weight in frozen.network.parameters())


def test_in_fp32_nothing_is_converted(base: Path, fp32: Precision):
    network = load(base, fp32, max_length=64, frozen=True).network
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_a_frozen_reference_policy_has_the_bits_of_the_policy_that_it_was(qwen: Path, temperature: float):
    loaded = load_policy(qwen, HALF)
    batch = sequences([(5, 6, 7), (8, 9)], [[10, 11], [12, 13, 14]], "cpu")
    with torch.no_grad():
        current, reference = (part(batch, temperature) for part in (loaded.log_probabilities, loaded.reference_log_probabilities))
    assert torch.equal(current, reference)


def test_an_adapter_on_a_narrow_base_learns_with_the_same_bits(qwen: Path, monkeypatch: pytest.MonkeyPatch):
    found = []
    for kind in (torch.bfloat16, torch.float32):
        if kind == torch.float32:
            monkeypatch.setattr(policy, "narrow_frozen", lambda network, _: network)
        network = load_causal(qwen, HALF, adapter=AdapterSpec(rank=2, alpha=4))[0]
        assert network.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight.dtype == kind
        spec = SupervisedSpec(epochs=2, learning_rate=1e-2, answers_per_step=5)
        losses = fine_tune(network, demonstrations(), spec, HALF, tokens_per_batch=40, seed=0, watch=StopsAfter(None))
        found.append((losses, {name: weight for name, weight in network.named_parameters() if weight.requires_grad}))
    (losses, weights), (other_losses, others) = found
    assert losses == other_losses
    assert all(weight.dtype == torch.float32 and torch.equal(weight, others[name]) for name, weight in weights.items())


def test_an_adapter_of_a_reward_model_learns_and_is_stored_with_the_same_bits(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stored = []
    for narrow in (True, False):
        if not narrow:
            monkeypatch.setattr(reward_model, "narrow_frozen", lambda network, _: network)
        model = load(base, HALF, max_length=64, adapter=AdapterSpec(rank=2, alpha=4))
        types = {weight.dtype for weight in model.network.parameters() if not weight.requires_grad}
        assert types == ({torch.bfloat16, torch.float32} if narrow else {torch.float32})
        train(model, pairs_of(model), SPEC, steps=2, watch=StopsAfter(None))
        model.store(tmp_path / str(narrow), base=base, half=False)
        stored.append(load_file(tmp_path / str(narrow) / "adapter_model.safetensors"))
    assert stored[0].keys() == stored[1].keys()
    assert all(tensor.dtype == torch.float32 and torch.equal(tensor, stored[1][name]) for name, tensor in stored[0].items())
