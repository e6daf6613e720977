"""What runs of the paper's sizes need."""

import pytest

from ser_core.api.serrun import SERRunSpec
from ser_core.memory.amounts import GIBIBYTE
from ser_core.memory.plan import Models, StagePlan, plans
from ser_core.memory.shape import ModelShape, model_shape
from ser_core.memory.words import memory_line, remedy

LLAMA = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
LLAMA |= {"num_key_value_heads": 8, "vocab_size": 128256}


def llama(layers: int = 32) -> ModelShape:
    """Llama 3 with 8 billion weights, or with fewer or more layers."""
    shapes = {"model.embed_tokens.weight": (128256, 4096), "lm_head.weight": (128256, 4096), "model.norm.weight": (4096,)}
    for layer in range(layers):
        name = f"model.layers.{layer}"
        shapes |= {
            f"{name}.self_attn.{part}_proj.weight": (rows, 4096) for part, rows in {"q": 4096, "k": 1024, "v": 1024, "o": 4096}.items()
        }
        shapes |= {f"{name}.mlp.{part}_proj.weight": (14336, 4096) for part in ("gate", "up")}
        shapes |= {f"{name}.mlp.down_proj.weight": (4096, 14336), f"{name}.input_layernorm.weight": (4096,)}
    return model_shape(LLAMA | {"num_hidden_layers": layers}, shapes)


def spec(gpus: int, **more: object) -> SERRunSpec:
    return SERRunSpec.model_validate(
        {
            "rewardModel": {"base": "hf://meta/llama", "maxLength": 1024, **more},
            "data": {"source": {"uri": "hf://a/b"}},
            "policy": {"base": "hf://meta/llama"},
            "resources": {stage: {"gpus": gpus} for stage in ("label", "retrain", "ppo")},
            "storage": {"uri": "s3://bucket/runs"},
        }
    )


def found(stage: str, wanted: SERRunSpec, shape: ModelShape) -> StagePlan:
    return next(one for one in plans(wanted, Models(shape, shape)) if one.stage == stage)


def test_the_sizes_of_a_model_are_counted_from_its_tensors():
    shape = llama()
    assert shape.weights + shape.output == pytest.approx(8.03e9, rel=0.01)
    assert shape.output == 128256 * 4096
    assert shape.layer == pytest.approx(218e6, rel=0.01)


def test_all_weights_of_eight_billion_fit_on_eight_gpus_and_not_on_one():
    assert found("retrain", spec(8), llama()).fits
    alone = found("retrain", spec(1), llama())
    assert not alone.fits
    assert "4 GPUs" in remedy(alone, spec(1), Models(llama()))


def test_an_adapter_of_eight_billion_fits_on_one_gpu_and_the_message_says_so():
    assert found("retrain", spec(1, adapter={}), llama()).fits
    assert "rewardModel.adapter on 1 GPU" in remedy(found("retrain", spec(1), llama()), spec(1), Models(llama()))


def test_the_remedy_helps():
    wanted = spec(2)
    stage = found("retrain", wanted, llama())
    assert not stage.fits
    told = remedy(stage, wanted, Models(llama()))
    gpus = int(told.removeprefix("it fits with ").split(" ")[0])
    assert found("retrain", spec(gpus), llama()).fits


def test_a_plan_is_told_in_one_line():
    told = memory_line(found("retrain", spec(8), llama()))
    assert told.startswith("stage retrain: ")
    assert "of 80 GiB a GPU, assumed on 8 GPUs (ZeRO-" in told


def test_a_stage_without_gpus_has_no_plan():
    assert list(plans(spec(0), Models(llama(), llama()))) == []


def test_a_smaller_gpu_is_planned_for():
    wanted = spec(8)
    smaller = wanted.resources.retrain.model_copy(update={"gpu_memory": "24Gi"})
    wanted = wanted.model_copy(update={"resources": wanted.resources.model_copy(update={"retrain": smaller})})
    assert found("retrain", wanted, llama()).gpu_memory == 24 * GIBIBYTE
    assert not found("retrain", wanted, llama()).fits


def test_more_processes_never_need_more_memory_each():
    needs = [found("retrain", spec(gpus), llama(8)).needs.total for gpus in (2, 4, 8, 16)]
    assert needs == sorted(needs, reverse=True)
