"""What a stage says when its memory is used up."""

import pytest

from ser_core.api.status import StageKind
from ser_core.memory.amounts import amounts
from ser_core.memory.plan import StagePlan
from ser_core.memory.words import host_line, memory_line
from ser_jobs.telemetry import memory
from ser_jobs.telemetry.memory import out_of_memory, out_of_memory_of_container, peak_memory


def test_the_peak_and_the_three_settings_that_decide_it_are_named():
    error = out_of_memory(RuntimeError("tried to allocate 2 GiB\nand more"), StageKind.CONTROL_FULL)

    assert error.exit_code == 21
    assert f"after {peak_memory()[0] / 2**30:.1f} GiB: tried to allocate 2 GiB" in error.message
    for setting in ("training.tokensPerBatch", "rewardModel.maxLength", "resources.retrain.memory"):
        assert setting in error.hint


def test_a_stage_out_of_gpu_memory_tells_what_was_planned(monkeypatch):
    monkeypatch.setattr(memory, "peak_memory", lambda: (79 << 30, "GPU"))
    plan = StagePlan("ppo", 2, 80 << 30, False, amounts({"weights": 60 << 30}), amounts({}), None)
    told = out_of_memory(RuntimeError("tried to allocate 2 GiB"), StageKind.PPO, plan).message
    assert told == f"out of GPU memory after 79.0 GiB: tried to allocate 2 GiB; planned was {memory_line(plan)}"


def test_a_stage_out_of_main_memory_tells_what_was_planned_of_that(monkeypatch):
    monkeypatch.setattr(memory, "peak_memory", lambda: (79 << 30, "GPU"))
    plan = StagePlan("ppo", 2, 80 << 30, False, amounts({"weights": 60 << 30}), amounts({"moments": 40 << 30}), None)
    error = out_of_memory(MemoryError(), StageKind.PPO, plan)
    assert error.message.startswith("out of main memory after ")
    assert error.message.endswith(f"GiB; planned was {host_line(plan)}")
    assert "resources.ppo.memory" in error.hint


def test_the_peak_is_that_of_this_process():
    before, where = peak_memory()
    held = bytearray(b"x" * (300 << 20))

    assert where == "main"
    assert peak_memory()[0] >= max(before, len(held))


@pytest.mark.parametrize("stage", list(StageKind))
def test_every_stage_has_memory_of_its_own_to_raise(stage):
    assert out_of_memory_of_container(3, stage, "").message.endswith("the kernel killed rank 3")


@pytest.mark.parametrize("stage", [StageKind.PREPARE, StageKind.FILTER])
def test_a_stage_without_batches_is_told_of_memory_alone(stage):
    assert out_of_memory(MemoryError(), stage).hint == f"raise resources.{stage}.memory"
