"""A stage looks at the files of its models, and refuses what its GPUs do not hold."""

from pathlib import Path

import pytest

from ser_core.api.serrun import SERRunSpec
from ser_core.errors import OutOfMemory
from ser_core.memory.plan import StagePlan
from ser_jobs.training.memory_check import refuse_what_does_not_fit

MEBIBYTE = 2**20


@pytest.fixture
def spec() -> SERRunSpec:
    return SERRunSpec.model_validate(
        {
            "rewardModel": {"base": "hf://a/b", "maxLength": 64},
            "data": {"source": {"uri": "hf://a/c"}},
            "policy": {"base": "hf://a/b"},
            "training": {"tokensPerBatch": 128},
            "storage": {"uri": "s3://bucket/runs"},
        }
    )


@pytest.mark.parametrize("stage", ["label", "retrain", "ppo"])
def test_what_does_not_fit_is_refused_with_the_plan_and_what_helps(spec: SERRunSpec, qwen: Path, stage: str):
    models = {"reward": qwen, "policy": qwen}
    with pytest.raises(OutOfMemory) as raised:
        refuse_what_does_not_fit(stage, spec, models, [], processes=1, gpu_memory=MEBIBYTE // 16)
    assert raised.value.reason == "DoesNotFit"
    assert f"stage {stage}: " in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("gpu_memory", [None, 2**40], ids=["no GPU", "a large one"])
def test_what_fits_goes_on(spec: SERRunSpec, qwen: Path, gpu_memory: int | None):
    planned: list[StagePlan] = []
    plan = refuse_what_does_not_fit("retrain", spec, {"reward": qwen}, planned, processes=2, gpu_memory=gpu_memory)
    assert planned == ([] if plan is None else [plan])
    assert (plan is None) == (gpu_memory is None)
