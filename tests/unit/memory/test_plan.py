"""What runs of the paper's sizes need."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import MixtralConfig, MixtralForCausalLM
from unit.memory.sizes import decoder

from ser_core.api.serrun import SERRunSpec
from ser_core.data.reading.models.weight_headers import shape_of_folder
from ser_core.memory.activations import MicroBatch
from ser_core.memory.alignment import IN_PIECES
from ser_core.memory.amounts import GIBIBYTE, amounts
from ser_core.memory.host import Loading, host_bytes
from ser_core.memory.plan import Models, StagePlan, plans
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import Sharding, training_bytes, training_of
from ser_core.memory.words import host_line, memory_line, misfits, remedy


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


@pytest.mark.parametrize(
    ("there", "told"),
    [(80, "114 of 80 GiB a GPU, assumed (tensors may take 74) on"), (114.1, "114 of 114 GiB a GPU, assumed (tensors may take 105) on")],
)
def test_a_gpu_that_is_too_small_shows_what_of_it_can_be_used(there, told):
    assert told in memory_line(replace(found("retrain", spec(1), decoder("8B")), gpu_memory=int(there * GIBIBYTE)))


@pytest.mark.parametrize(("there", "told"), [(4, "4.004 of 4.000 GiB"), (8, "4.0 of 8.0 GiB"), (4.004, "4.0 of 4.0 GiB")])
def test_what_does_not_fit_is_never_rounded_to_what_there_is(there, told):
    pod = replace(found("retrain", spec(1), decoder("8B")), host=amounts({"libraries": 4.004 * GIBIBYTE}), memory=int(there * GIBIBYTE) + 1)
    assert host_line(pod).startswith(f"stage retrain: {told} of main memory")


def with_memory(wanted: SERRunSpec, memory: str) -> SERRunSpec:
    smaller = wanted.resources.retrain.model_copy(update={"memory": memory})
    return wanted.model_copy(update={"resources": wanted.resources.model_copy(update={"retrain": smaller})})


def test_batches_are_halved_before_anything_slower():
    shape, tight = decoder("8B"), adapted_policy(2)
    larger = tight.model_copy(update={"training": tight.training.model_copy(update={"tokens_per_batch": 2**20})})
    for stage in ("retrain", "ppo", "label"):
        planned = found(stage, larger, shape)
        assert planned.fits
        assert planned.tokens is not None
        assert 2048 < planned.tokens < 2**20
        assert f"{planned.tokens} tokens a batch" in memory_line(planned)
        assert (planned.pieces, planned.sharding is None or planned.sharding.pieces) == (1, planned.sharding is None)
    assert found("retrain", tight, shape).tokens is None


def test_a_row_is_never_parted():
    planned = found("retrain", spec(1), decoder("8B"))
    assert not planned.fits
    assert planned.tokens == 2048


def test_moments_go_to_main_memory_where_the_spec_says_that_there_is_enough():
    shape, models = decoder("8B"), Models(decoder("8B"), decoder("8B"))
    told = remedy(found("retrain", spec(1), shape), spec(1), models)
    enough = re.search(r"resources\.retrain\.memory (\d+)Gi \(moments in main memory\)", told)
    assert enough is not None
    plenty, scarce = with_memory(spec(1), f"{enough[1]}Gi"), with_memory(spec(1), f"{int(enough[1]) - 1}Gi")
    stage = found("retrain", plenty, shape)
    assert stage.sharding == Sharding(0, recompute=True, offload=True)
    assert list(misfits(stage, plenty, models)) == []
    assert stage.host.parts["moments"] == 8 * shape.weights
    assert "moments in main memory" in memory_line(stage)
    assert "moments 56" in host_line(stage)
    assert not found("retrain", scarce, shape).fits


def test_what_fits_without_main_memory_leaves_it_alone():
    assert found("retrain", with_memory(spec(8), "4Ti"), decoder("8B")).sharding == found("retrain", spec(8), decoder("8B")).sharding


def test_an_alignment_keeps_what_only_scores_in_main_memory_too():
    shape, wanted = decoder("7B"), spec(4)
    larger = wanted.resources.ppo.model_copy(update={"memory": "1Ti"})
    plenty = wanted.model_copy(update={"resources": wanted.resources.model_copy(update={"ppo": larger})})
    assert not found("ppo", wanted, shape).fits
    aligned = found("ppo", plenty, shape)
    assert aligned.fits
    assert aligned.sharding == Sharding(3, recompute=True, offload=True)
    assert aligned.host.parts["moments"] == 2 * 8 * (shape.weights + shape.output)
    assert aligned.host.parts["models that only score"] == pytest.approx(3 * 2 * shape.weights, rel=0.05)
    assert "reference policy" not in aligned.needs.parts


def loaded(stage: StagePlan) -> float:
    return stage.host.parts["models while they are loaded"]


def test_a_model_is_read_weight_by_weight_by_one_process_of_a_group_or_by_each_that_labels_alone():
    shape, adapted = decoder("8B"), spec(8, adapter={})
    table = 4 * 128256 * 4096
    assert (loaded(found("label", adapted, shape)), loaded(found("retrain", adapted, shape))) == (16 * table, 2 * table)
    assert loaded(found("ppo", adapted_policy(8), shape)) == 2 * table + 8 * 4 * shape.weights, "critics are whole"
    stage = found("label", adapted, shape)
    assert host_line(stage).startswith("stage label: 47 GiB of main memory a pod: models while they are loaded 31, libraries 16")
    assert stage.pod_holds_it, "nobody said how much there is"


def test_the_largest_weight_of_a_mixture_is_of_all_experts_of_a_layer(tmp_path: Path):
    sizes = {"hidden_size": 24, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    network = MixtralForCausalLM(MixtralConfig(**sizes, vocab_size=60, num_local_experts=4))
    network.save_pretrained(tmp_path)
    assert shape_of_folder(tmp_path).largest == max(weight.numel() for weight in network.parameters()) == 2 * 4 * 24 * 96


def test_seventy_billion_with_an_adapter_learn_and_label_on_eight_gpus():
    shape, adapted = decoder("70B"), spec(8, adapter={})
    trained, labelled = (found(stage, adapted, shape) for stage in ("retrain", "label"))
    assert trained.fits
    assert trained.sharding == Sharding(3, recompute=True, pieces=True)
    assert "always in pieces" in memory_line(trained)
    assert labelled.fits
    assert "on 8 GPUs (model in 8 pieces): " in memory_line(labelled)
    assert (labelled.pieces, loaded(labelled)) == (8, 2 * 4 * shape.largest)
    assert "2 GPUs" in remedy(found("label", spec(1, adapter={}), shape), spec(1, adapter={}), Models(shape))


def adapted_policy(gpus: int, **policy: object) -> SERRunSpec:
    """A run of two adapters on one base."""
    wanted = spec(gpus, adapter={}).model_dump(mode="json", by_alias=True, exclude_unset=True)
    wanted["policy"] |= {"adapter": {}, **policy}
    wanted["training"] = {"tokensPerBatch": 1024}
    return SERRunSpec.model_validate(wanted)


def test_seventy_billion_with_adapters_are_aligned_on_eight_gpus_and_read_once():
    shape, tuned = decoder("70B"), adapted_policy(8, sft={})
    aligned = found("ppo", adapted_policy(8), shape)
    assert aligned.fits
    assert aligned.sharding == IN_PIECES
    assert loaded(aligned) == 2 * 4 * shape.largest
    assert "16 GPUs" in remedy(found("ppo", tuned, shape), tuned, Models(shape, shape))
    assert not found("ppo", adapted_policy(16, generator="vllm"), shape).fits


def test_all_weights_of_seventy_billion_learn_where_no_process_holds_them():
    shape, wanted = decoder("70B"), spec(8)
    pods = wanted.resources.retrain.model_copy(update={"nodes": 8})
    wanted = wanted.model_copy(update={"resources": wanted.resources.model_copy(update={"retrain": pods, "ppo": pods})})
    for stage in ("retrain", "ppo"):
        trained = found(stage, wanted, shape)
        assert trained.sharding == Sharding(3, recompute=True, pieces=True)
        assert max(trained.needs.parts.values()) < 4 * shape.weights / 4
    assert "32 GPUs" in remedy(found("retrain", spec(8), shape), spec(8), Models(shape, shape))


def test_a_critic_on_the_policys_base_needs_none_of_its_own():
    shape, matrices = decoder("70B"), 2 * decoder("70B").matrices
    alone, tuned, larger = (
        found("ppo", adapted_policy(4, **policy), shape).needs.parts["weights"] for policy in ({}, {"sft": {}}, {"adapter": {"rank": 8}})
    )
    assert min(tuned, larger) - alone > 0.9 * matrices / 4


def test_what_fits_whole_is_not_cut():
    small, adapted = decoder("8B"), spec(8, adapter={})
    assert found("label", adapted, small).pieces == 1
    sharding = found("retrain", adapted, small).sharding
    assert sharding is not None
    assert not sharding.pieces


def test_only_the_processes_of_one_pod_label_with_one_model():
    wanted = spec(1)
    pods = wanted.resources.label.model_copy(update={"nodes": 8})
    wanted = wanted.model_copy(update={"resources": wanted.resources.model_copy(update={"label": pods})})
    assert not found("label", wanted, decoder("70B")).fits


def test_a_pod_without_the_memory_is_told_of_and_the_remedy_helps():
    models, small = Models(decoder("8B"), decoder("8B")), with_memory(spec(8), "64Gi")
    (told,) = misfits(found("retrain", small, decoder("8B")), small, models)
    assert told.startswith("stage retrain: 100 of 64 GiB of main memory a pod: ")
    enough = told.rpartition(" ")[2]
    assert list(misfits(found("retrain", with_memory(spec(8), enough), decoder("8B")), small, models)) == []


def test_what_is_kept_in_main_memory_while_an_alignment_learns_can_be_the_most():
    """Copies of all weights, and a checkpoint with their moments."""
    shape = decoder("8B")
    found = host_bytes(Loading(shape, readers=1), learning=2 * shape.weights, fall_back=2 * shape.weights, in_pod=1)
    assert found.parts["a checkpoint while it is saved"] == 24 * shape.weights
    assert found.parts["weights to fall back on"] == 8 * shape.weights


def test_a_stage_without_gpus_has_no_plan():
    assert list(plans(spec(0), Models(decoder("8B"), decoder("8B")))) == []


def test_a_smaller_gpu_is_planned_for():
    wanted = spec(8)
    smaller = wanted.resources.retrain.model_copy(update={"gpu_memory": "16Gi"})
    wanted = wanted.model_copy(update={"resources": wanted.resources.model_copy(update={"retrain": smaller})})
    assert found("retrain", wanted, decoder("8B")).gpu_memory == 16 * GIBIBYTE
    assert not found("retrain", wanted, decoder("8B")).fits


@pytest.mark.parametrize("sharding", [Sharding(1, recompute=False), Sharding(2, recompute=True), Sharding(3, recompute=True)], ids=str)
def test_more_processes_never_need_more_memory_each(sharding: Sharding):
    training = training_of(decoder("8B"), None, MicroBatch(8192, 1024, half=True))
    needs = [training_bytes(training, sharding, processes).total for processes in (2, 4, 8, 16)]
    assert needs == sorted(needs, reverse=True)
