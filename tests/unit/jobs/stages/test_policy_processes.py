"""The stages `sft` and `ppo` in two processes, on gloo."""

import io

import pytest
import safetensors.torch
import torch
from plain_models import write_plain
from ports import free_port
from unit.jobs.processes import process
from unit.jobs.stages.test_ppo import POLICY as ALIGNED
from unit.jobs.stages.test_sft import POLICY as TUNED
from unit.learn.processes import together

from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.data.tables import PolicyStep, read_table
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import load
from ser_jobs.stages.sft import body as sft

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def by_two(workshop, bert, qwen, tmp_path):
    """Carries a stage out by two processes, once for each of ``stops``."""
    workshop.give(InputRole.PREPARED, workshop.tables, bert, qwen)
    write_plain(load(bert, Precision("cpu"), max_length=64, seed=1), tmp_path / "best")
    workshop.give(InputRole.BEST, model=tmp_path / "best")

    def run(kind, policy, stops):
        context = workshop.context(kind, 0, policy=policy)
        together(process, 2, free_port(), stops, context.spec, workshop.folder / "store", dict(context.inputs), tmp_path)
        return [torch.load(tmp_path / f"results-{rank}.pt", weights_only=False) for rank in range(2)]

    return run


def test_two_processes_align_and_resume_exactly(by_two):
    (whole, stopped, resumed), others = by_two(StageKind.PPO, ALIGNED, [None, 2, None])

    assert others == [None, stopped, None]
    assert stopped == "stopped after PPO step 2"
    assert resumed["model/model.safetensors"] == whole["model/model.safetensors"]
    assert resumed["answers.jsonl"] == whole["answers.jsonl"]
    assert [step.step for step in read_table(io.BytesIO(whole["ppo.parquet"]), PolicyStep)] == [1, 2, 3, 4]


def test_two_processes_fine_tune_to_what_one_does(by_two, workshop):
    ((whole, stopped, resumed), others) = by_two(StageKind.SFT, TUNED, [None, 4, None])
    workshop.context(StageKind.SFT, 0).checkpoints.delete_all()
    alone = workshop.run(sft, StageKind.SFT, policy=TUNED)

    assert others == [None, stopped, None]
    assert stopped.startswith("stopped after step")
    assert resumed["model/model.safetensors"] == whole["model/model.safetensors"]
    expected = safetensors.torch.load_file(alone.files["model/model.safetensors"])
    found = safetensors.torch.load(whole["model/model.safetensors"])
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, atol=1e-3, rtol=1e-3)
