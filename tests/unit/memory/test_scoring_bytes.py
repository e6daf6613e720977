"""What is planned for weights that only score, against what they take."""

import pytest
import torch
from unit.memory.families import make

from ser_core.learn.compute.precision import Precision, freeze
from ser_core.memory.scoring import frozen_bytes
from ser_core.memory.shape import model_shape


@pytest.mark.parametrize("family", ["llama", "mixtral", "qwen3_moe"])
def test_frozen_weights_take_what_is_planned_and_experts_stay_fp32(family: str):
    network = make(family)
    shape = model_shape(network.config.to_dict(), {name: tuple(part.shape) for name, part in network.named_parameters()})
    taken = sum(part.nbytes for part in freeze(network, Precision("cpu", torch.bfloat16)).parameters())
    assert frozen_bytes(shape, half=True) == pytest.approx(taken, rel=0.01)


def test_experts_are_counted_in_files_that_have_each_of_them_alone():
    name = "model.layers.0.mlp.experts"
    alone = {f"{name}.{number}.{part}.weight": (8, 16) for number in range(4) for part in ("gate_proj", "up_proj")}
    together = {f"{name}.gate_up_proj": (4, 16, 16)}
    settings = {"model_type": "qwen3_moe", "hidden_size": 16, "num_experts_per_tok": 2}
    for tensors in (alone, together):
        shape = model_shape(settings, tensors | {"model.layers.0.mlp.gate.weight": (4, 16)})
        assert (shape.experts, shape.chosen) == (1024, 2)


@pytest.mark.parametrize(("asked", "chosen"), [({"num_experts_per_tok": 4}, 4), ({"num_experts_per_tok": 0}, 0), ({}, 0)])
def test_experts_in_one_weight_count_whatever_files_call_them_and_convolutions_do_not(asked: dict[str, int], chosen: int):
    tensors = {"model.layers.0.block_sparse_moe.input_linear.weight": (8, 64, 16)}
    assert model_shape({"model_type": "granitemoe", "hidden_size": 16, **asked}, tensors).chosen == chosen
