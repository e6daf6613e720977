"""Networks whose matrices are read one after the other are those that transformers loads, to the last bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from ports import free_port
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from unit.learn.processes import together
from unit.learn.weights.test_stored_adapter import ADAPTER, BF16, stored
from unit.memory.loaded import process

from ser_core.errors import SpecError
from ser_core.learn.compute.adapters import adapt_scorer
from ser_core.learn.compute.placing import place
from ser_core.learn.policy.policy import load_causal
from ser_core.learn.weights.pretrained import load_network


def tensors(network: Any) -> dict[str, torch.Tensor]:
    return dict(network.named_parameters()) | dict(network.named_buffers())


def assert_equal(found: Any, expected: Any) -> None:
    mine, theirs = tensors(found), tensors(expected)
    assert [name for name in theirs if not torch.equal(mine[name], theirs[name])] == []
    assert [weight.requires_grad for weight in found.parameters()] == [weight.requires_grad for weight in expected.parameters()]
    assert mine.keys() == theirs.keys()


def scorer(folder: Path, *, in_files: bool) -> Any:
    torch.manual_seed(3)
    network, _ = load_network(AutoModelForSequenceClassification, folder, "rewardModel.base", in_files=in_files, num_labels=1)
    return network


def unread(network: Any) -> list[str]:
    return [name for name, weight in network.named_parameters() if weight.is_meta]


def test_matrices_are_read_when_they_are_placed(base: Path):
    network = scorer(base, in_files=True)
    assert len(unread(network)) > 6
    place(network, "cpu")
    assert unread(network) == []
    assert_equal(network, scorer(base, in_files=False))


def test_a_new_adapter_and_what_torch_draws_after_it_are_the_same(base: Path):
    found, drawn = [], []
    for in_files in (True, False):
        found.append(adapt_scorer(scorer(base, in_files=in_files), ADAPTER))
        drawn.append(torch.rand(1))
    assert all(".base_layer." in name or "embed" in name for name in unread(found[0]))
    place(found[0], "cpu")
    assert_equal(*found)
    assert drawn[0] == drawn[1]


def test_stored_adapters_are_merged_as_their_matrices_are_read(base: Path, fp32, tmp_path: Path):
    """The second lies on the first; its tokenizer has a token more than the base's."""
    folder = stored(stored(base, fp32, tmp_path / "first"), fp32, tmp_path / "second")
    network = scorer(folder, in_files=True)
    assert unread(network)
    place(network, "cpu")
    assert_equal(network, scorer(folder, in_files=False))


def test_a_policy_whose_files_are_several_is_read_too(qwen: Path, tmp_path: Path):
    network, tokenizer = load_causal(qwen, BF16)
    place(network, "cpu")
    network.save_pretrained(tmp_path, max_shard_size="20KB")
    tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    (network, _), (expected, _) = (
        load_network(AutoModelForCausalLM, tmp_path, "policy.base", in_files=in_files) for in_files in (True, False)
    )
    place(network, "cpu")
    assert_equal(network, expected)
    assert network.generation_config.to_dict() == expected.generation_config.to_dict()


def larger(qwen: Path, folder: Path) -> Path:
    """A decoder of 20 MB whose largest matrix has half a megabyte."""
    sizes = {"hidden_size": 192, "intermediate_size": 528, "num_hidden_layers": 12, "num_attention_heads": 6, "num_key_value_heads": 2}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, vocab_size=600, pad_token_id=0)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(qwen).save_pretrained(folder)
    return folder


@pytest.mark.timeout(900)
def test_no_process_holds_a_whole_model_while_it_gets_its_pieces(qwen: Path, tmp_path: Path):
    together(process, 2, free_port(), larger(qwen, tmp_path / "model"), tmp_path)
    whole = 4 * sum(tensor.numel() for tensor in load_file(tmp_path / "model" / "model.safetensors").values())
    for kind in ("scores", "adapter", "learns"):
        (reads, kept), (gets, _) = (json.loads((tmp_path / f"{kind}-{rank}.json").read_text(encoding="utf-8")) for rank in range(2))
        assert reads - gets < whole / 10, "who reads needs more for one matrix, not for the model"
        assert kind == "learns" or reads < 0.7 * whole, (kind, reads, kept)


def test_a_number_that_is_not_finite_is_found_when_its_matrix_is_read(qwen: Path, tmp_path: Path):
    folder = larger(qwen, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    network = scorer(folder, in_files=True)
    with pytest.raises(SpecError, match=r"model.layers.1.mlp.up_proj.weight"):
        place(network, "cpu")


def test_matrices_that_transformers_puts_together_are_read_when_they_are_placed(qwen: Path, tmp_path: Path):
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = transformers.MixtralConfig(**sizes, vocab_size=600, num_local_experts=2)
    transformers.MixtralForCausalLM(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(qwen).save_pretrained(tmp_path)
    network = scorer(tmp_path, in_files=True)
    assert {"model.layers.1.mlp.experts.gate_up_proj", "model.layers.1.mlp.experts.down_proj"} <= set(unread(network))
    place(network, "cpu")
    assert_equal(network, scorer(tmp_path, in_files=False))
