"""A stage looks at the files of its models, and refuses what its GPUs do not hold."""

from pathlib import Path

import pytest
import torch
from unit.jobs.conftest import RunWorkshop

from ser_core.api.status import StageKind
from ser_core.errors import OutOfMemory
from ser_core.learn.compute.precision import Precision
from ser_jobs.training import memory_check
from ser_jobs.training.memory_check import refuse_what_does_not_fit

MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("kind", "stage"),
    [(StageKind.LABEL, "label"), (StageKind.RETRAIN, "retrain"), (StageKind.CONTROL_FULL, "retrain"), (StageKind.PPO, "ppo")],
)
def test_what_does_not_fit_is_refused_with_the_plan_and_what_helps(
    workshop: RunWorkshop, qwen: Path, monkeypatch: pytest.MonkeyPatch, kind: StageKind, stage: str
):
    monkeypatch.setattr(memory_check, "gpu_memory", lambda: MEBIBYTE // 16)
    context = workshop.context(kind, policy={"base": "hf://a/b"})
    with pytest.raises(OutOfMemory) as raised:
        refuse_what_does_not_fit(context, {"reward": qwen, "policy": qwen})
    assert raised.value.reason == "DoesNotFit"
    assert raised.value.message.startswith(f"stage {stage}: ")
    assert raised.value.hint


@pytest.mark.parametrize("gpu_memory", [None, 2**40], ids=["no GPU", "a large one"])
def test_what_fits_goes_on(workshop: RunWorkshop, qwen: Path, monkeypatch: pytest.MonkeyPatch, gpu_memory: int | None):
    monkeypatch.setattr(memory_check, "gpu_memory", lambda: gpu_memory)
    context = workshop.context(StageKind.RETRAIN, world_size=2)
    plan = refuse_what_does_not_fit(context, {"reward": qwen})
    assert context.memory_plan.found is plan
    assert (plan is None) == (gpu_memory is None)
    assert plan is None or (plan.gpus, plan.gpu_memory) == (2, gpu_memory)


@pytest.mark.parametrize("asked", ["auto", "bf16"])
def test_a_gpu_without_bf16_is_planned_as_one_that_computes_in_fp32(
    workshop: RunWorkshop, qwen: Path, monkeypatch: pytest.MonkeyPatch, asked: str
):
    def needs(precision: str, products: torch.dtype | None) -> float:
        monkeypatch.setattr(memory_check, "detect", lambda _: Precision("cuda", products))
        context = workshop.context(StageKind.SFT, policy={"base": "hf://a/b", "precision": precision, "sft": {}, "adapter": {}})
        plan = refuse_what_does_not_fit(context, {"policy": qwen})
        assert plan is not None
        return plan.needs.total

    monkeypatch.setattr(memory_check, "gpu_memory", lambda: 2**40)
    assert needs(asked, None) == needs("fp32", None) != needs(asked, torch.bfloat16)
