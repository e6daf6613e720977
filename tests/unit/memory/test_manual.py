"""The manual's table of the GPUs that a stage needs is the plan's."""

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
_LIBRARIES = 2 * GIBIBYTE
"""Of each process."""


def planned(size: str, stage: str, adapted: bool, gpus: int) -> StagePlan | None:
    """The plan of a stage with what the manual says above its table."""
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
    return plan(stage, spec, Models(shape, shape), spec.resources.ppo.model_copy(update={"gpus": gpus}))


def cell(size: str, stage: str, adapted: bool) -> str:
    """The smallest number of GPUs of 80 GiB that is enough; else what each would have to have."""
    tried = [found for gpus in (1, 2, 4, 8, 16, 32) if (found := planned(size, stage, adapted, gpus)) is not None]
    enough = next((one.gpus for one in tried if one.fits), None)
    return str(enough) if enough else f"{min(one.needs.total for one in tried) / GIBIBYTE:.0f} GiB"


@pytest.mark.parametrize("size", ["7B", "8B", "13B", "70B"])
def test_the_manual_says_what_is_planned(size: str):
    _, _, table = _MANUAL.read_text(encoding="utf-8").partition(_HEAD)
    row = next(line for line in table.splitlines() if line.startswith(f"| {size} "))
    assert [part.strip() for part in row.strip("|").split("|")] == [size, *(cell(size, *column) for column in _COLUMNS)]


def test_the_manual_says_what_main_memory_is_planned():
    manual = _MANUAL.read_text(encoding="utf-8").replace("\n", " ")
    of_all, of_one = planned("8B", "label", False, 8), planned("70B", "label", True, 2)
    assert of_all is not None
    assert of_one is not None
    assert f"8 processes with 8B take {of_all.host.total / GIBIBYTE:.0f} GiB" in manual
    assert f"main memory of {(of_one.host.total - 2 * _LIBRARIES) / GIBIBYTE:.0f} GiB beside the libraries" in manual
