"""What is written weight by weight is what transformers writes of the whole."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from ser_core.learn.weights.exports import export
from ser_core.learn.weights.pretrained import load_network
from ser_core.learn.weights.written import write_model

HEADED = {"num_labels": 1, "problem_type": "regression"}


def load(kind: Any, folder: Path, *, in_files: bool) -> tuple[Any, Any]:
    torch.manual_seed(0)
    return load_network(kind, folder, "base", in_files=in_files, **(HEADED if kind is AutoModelForSequenceClassification else {}))


@pytest.mark.parametrize("products", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", [AutoModelForCausalLM, AutoModelForSequenceClassification], ids=["policy", "scores"])
def test_an_unread_network_is_exported_to_the_same_bytes(qwen: Path, tmp_path: Path, kind: Any, products: torch.dtype | None):
    for in_files in (True, False):
        export(*load(kind, qwen, in_files=in_files), tmp_path / str(in_files), products=products)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "False").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "True").iterdir()} == expected


def test_experts_have_the_names_and_numbers_that_transformers_writes(qwen: Path, tmp_path: Path):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}
    base = shutil.copytree(qwen, tmp_path / "base")
    AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2_moe", vocab_size=257, **sizes, **experts)).save_pretrained(base)
    for in_files in (True, False):
        export(*load(AutoModelForSequenceClassification, base, in_files=in_files), tmp_path / str(in_files))
    found, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("True", "False"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_large_model_has_several_files_that_transformers_reads(qwen: Path, tmp_path: Path):
    network, tokenizer = load(AutoModelForCausalLM, qwen, in_files=True)
    write_model(network, tmp_path, None, largest=20_000)
    tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 2
    expected, _ = load(AutoModelForCausalLM, qwen, in_files=False)
    for in_files in (True, False):
        found, _ = load(AutoModelForCausalLM, tmp_path, in_files=in_files)
        assert [name for name, weight in expected.named_parameters() if not torch.equal(read(found, name), weight)] == []


def read(network: Any, name: str) -> torch.Tensor:
    weight = network.get_parameter(name)
    return weight.source() if weight.is_meta else weight
