"""Log-probabilities in chunks are those of the whole logits, and so are their gradients."""

from typing import Any

import pytest
import torch
import transformers
from unit.memory.families import FAMILIES

from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.log_probabilities import log_probabilities, passes_logits_on
from ser_core.memory.shape import model_shape

BATCH = sequences([(5, 6, 7), (8, 9), (3,)], [[10, 11], [12, 13, 14], [15, 16, 17, 18]], "cpu")
DECODERS = ["llama", "qwen3", "gemma2", "gemma3", "phi3", "gpt2", "gpt_neox"]


def causal(family: str) -> Any:
    kind, settings = FAMILIES[family]
    name = "n_layer" if family == "gpt2" else "num_hidden_layers"
    config = getattr(transformers, f"{kind}Config")(**{**settings, name: 2})
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def gradients(network: Any, precision: Precision, **how: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    network.zero_grad()
    found = log_probabilities(network, BATCH, 0.7, precision, **how)
    found.square().sum().backward()
    return found.detach(), {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("tokens", [1, 4, 100])
def test_chunks_change_neither_values_nor_gradients(tokens: int, half: bool):
    precision, network = Precision("cpu", torch.bfloat16 if half else None), causal("llama")
    whole, expected = gradients(network, precision, in_chunks=False)
    found, in_chunks = gradients(network, precision, in_chunks=True, largest=tokens * 1000)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)
    assert in_chunks.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(in_chunks[name], gradient, rtol=0, atol=(1e-2 if half else 1e-5) * scale, msg=name)


def test_only_one_chunk_of_logits_is_kept_for_the_backward_pass():
    network, kept = causal("llama"), []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        log_probabilities(network, BATCH, 1.0, Precision("cpu"), in_chunks=True, largest=2000)
    assert kept
    assert not any(shape[-1] == 1000 for shape in kept if len(shape) == 2 and shape[0] < 10)


@pytest.mark.parametrize("family", DECODERS)
def test_a_model_that_changes_its_logits_is_found_out_and_the_plan_knows_it(family: str):
    network = causal(family)
    shape = model_shape(network.config.to_dict(), {name: tuple(part.shape) for name, part in network.named_parameters()})
    for products in (None, torch.bfloat16):
        assert passes_logits_on(network, Precision("cpu", products)) is not shape.reworks_logits
    assert shape.reworks_logits == (family == "gemma2")
