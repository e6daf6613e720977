"""What runs of the paper's sizes need."""

import pytest
from unit.memory.sizes import decoder

from ser_core.api.serrun import SERRunSpec
from ser_core.memory.activations import MicroBatch
from ser_core.memory.amounts import GIBIBYTE
from ser_core.memory.plan import Models, StagePlan, plans
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import Sharding, training_bytes, training_of
from ser_core.memory.words import memory_line, remedy


def spec(gpus: int, **more: object) -> SERRunSpec:
    """A run whose stages have that many GPUs; ``more`` of the reward model."""
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
    shape = decoder("8B")
    assert shape.weights + shape.output == pytest.approx(8.03e9, rel=0.01)
    assert shape.output == 128256 * 4096
    assert shape.layer == pytest.approx(218e6, rel=0.01)


def test_all_weights_of_eight_billion_fit_on_eight_gpus_and_not_on_one():
    assert found("retrain", spec(8), decoder("8B")).fits
    alone = found("retrain", spec(1), decoder("8B"))
    assert not alone.fits
    assert "4 GPUs" in remedy(alone, spec(1), Models(decoder("8B")))


def test_an_adapter_of_eight_billion_fits_on_one_gpu_and_the_message_says_so():
    assert found("retrain", spec(1, adapter={}), decoder("8B")).fits
    assert "rewardModel.adapter on 1 GPU" in remedy(found("retrain", spec(1), decoder("8B")), spec(1), Models(decoder("8B")))


def test_the_remedy_helps():
    wanted = spec(2)
    stage = found("retrain", wanted, decoder("8B"))
    assert not stage.fits
    told = remedy(stage, wanted, Models(decoder("8B")))
    gpus = int(told.removeprefix("it fits with ").split(" ")[0])
    assert found("retrain", spec(gpus), decoder("8B")).fits


def test_a_plan_is_told_in_one_line():
    told = memory_line(found("retrain", spec(8), decoder("8B")))
    assert told.startswith("stage retrain: ")
    assert "of 80 GiB a GPU, assumed on 8 GPUs (ZeRO-" in told


def test_a_stage_without_gpus_has_no_plan():
    assert list(plans(spec(0), Models(decoder("8B"), decoder("8B")))) == []


def test_a_smaller_gpu_is_planned_for():
    wanted = spec(8)
    smaller = wanted.resources.retrain.model_copy(update={"gpu_memory": "24Gi"})
    wanted = wanted.model_copy(update={"resources": wanted.resources.model_copy(update={"retrain": smaller})})
    assert found("retrain", wanted, decoder("8B")).gpu_memory == 24 * GIBIBYTE
    assert not found("retrain", wanted, decoder("8B")).fits


@pytest.mark.parametrize("sharding", [Sharding(1, recompute=False), Sharding(2, recompute=True), Sharding(3, recompute=True)], ids=str)
def test_more_processes_never_need_more_memory_each(sharding: Sharding):
    training = training_of(decoder("8B"), None, MicroBatch(8192, 1024, half=True))
    needs = [training_bytes(training, sharding, processes).total for processes in (2, 4, 8, 16)]
    assert needs == sorted(needs, reverse=True)
