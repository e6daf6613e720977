"""The manual's table of the GPUs that a stage needs is the plan's."""

import math
from pathlib import Path

import pytest
from unit.memory.sizes import decoder

from ser_core.api.serrun import SERRunSpec
from ser_core.memory.amounts import GIBIBYTE
from ser_core.memory.plan import Models, StagePlan, plan

_MANUAL = Path(__file__).parents[3] / "docs/operations.md"
_HEAD = "| model | `label` | `retrain` | with adapter | `sft` | with adapter | `ppo` | with adapter |"
_COLUMNS = [("label", False), *((stage, adapted) for stage in ("retrain", "sft", "ppo") for adapted in (False, True))]
_TOKENS = {"ppo": 1024}


_WITH_MEMORY = "| model | `retrain` | `sft` | `ppo` | `ppo` with adapter |"
_MOVED = [("retrain", False), ("sft", False), ("ppo", False), ("ppo", True)]
_SIZES = ["7B", "8B", "13B", "70B"]


def planned(size: str, stage: str, adapted: bool, gpus: int, memory: str | None = None) -> StagePlan:
    """The plan of a stage with what the manual says above its tables."""
    shape, adapter = decoder(size), {} if adapted else None
    spec = SERRunSpec.model_validate(
        {
            "rewardModel": {"base": "hf://a/b", "maxLength": 1024, "adapter": adapter},
            "data": {"source": {"uri": "hf://a/c"}},
            "policy": {"base": "hf://a/b", "adapter": adapter, "sft": {}},
            "training": {"tokensPerBatch": _TOKENS.get(stage, 8192)},
            "storage": {"uri": "s3://bucket/runs"},
        }
    )
    pods = spec.resources.ppo.model_copy(update={"gpus": min(8, gpus), "nodes": max(1, gpus // 8), "memory": memory})
    found = plan(stage, spec, Models(shape, shape), pods)
    assert found is not None
    return found


def enough(size: str, stage: str, adapted: bool, memory: str | None = None) -> StagePlan:
    """The plan with the smallest number of GPUs of 80 GiB that is enough, in pods of at most 8."""
    tried = (planned(size, stage, adapted, gpus, memory) for gpus in (1, 2, 4, 8, 16, 32, 64))
    return next(found for found in tried if found.fits)


def row_of(size: str, head: str) -> list[str]:
    """A row of one of the manual's tables."""
    _, _, table = _MANUAL.read_text(encoding="utf-8").partition(head)
    row = next(line for line in table.splitlines() if line.startswith(f"| {size} "))
    return [part.strip() for part in row.strip("|").split("|")]


@pytest.mark.parametrize("size", _SIZES)
def test_the_manual_says_what_is_planned(size: str):
    assert row_of(size, _HEAD) == [size, *(str(enough(size, *column).gpus) for column in _COLUMNS)]


@pytest.mark.parametrize("size", _SIZES)
def test_the_manual_says_what_is_planned_with_main_memory(size: str):
    cells = []
    for column in _MOVED:
        found = enough(size, *column, "64Ti")
        fewer = found.gpus < enough(size, *column).gpus
        cells.append(f"{found.gpus}, {math.ceil(found.host.total / GIBIBYTE)}Gi" if fewer else "")
    assert row_of(size, _WITH_MEMORY) == [size, *cells]


def test_the_manual_says_what_main_memory_is_planned():
    manual = _MANUAL.read_text(encoding="utf-8").replace("\n", " ")
    critics, read, retrain, ppo = (
        {name: f"{size / GIBIBYTE:.0f} GiB" for name, size in planned(*case).host.parts.items()}
        for case in (("8B", "ppo", True, 8), ("70B", "label", True, 2), ("70B", "retrain", False, 32), ("70B", "ppo", False, 64))
    )
    loading, saving, kept = "models while they are loaded", "a checkpoint while it is saved", "weights to fall back on"
    assert f"8 processes with 8B take {critics[loading]}" in manual
    assert f"To read 70B takes {read[loading]}" in manual
    assert f"takes {retrain[saving]} in each pod of `retrain` on 32 GPUs" in manual
    assert f"{ppo[saving]} in each of `ppo` on 64, where the weights to fall back on take another {ppo[kept]}" in manual
