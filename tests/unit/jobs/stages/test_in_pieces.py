"""Stages in two processes, on gloo, whose model no process holds whole."""

import io
from dataclasses import replace

import pytest
import torch
from plain_models import write_plain
from ports import free_port
from safetensors.torch import load as tensors
from unit.jobs.processes import IN_PIECES, process
from unit.jobs.stages.test_ppo import POLICY
from unit.learn.processes import together

from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.data.tables import EvaluatedPair, read_table
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import load
from ser_core.memory import alignment
from ser_jobs.stages import label, retrain, sft

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def by_two(workshop, tmp_path):
    """Carries a stage out by two processes in pieces: undisturbed, and, where ``stop_at`` says when, stopped and resumed."""

    def run(kind, iteration, stop_at=None, sharding=IN_PIECES, **settings):
        workshop.context(kind, iteration).checkpoints.delete_all()
        context = workshop.context(kind, iteration, **settings)
        folder = tmp_path / str(sharding)
        folder.mkdir()
        stops = [None] if stop_at is None else [None, stop_at, None]
        arguments = (stops, context.spec, workshop.folder / "store", dict(context.inputs), folder, sharding)
        together(process, 2, free_port(), *arguments)
        return [torch.load(folder / f"results-{rank}.pt", weights_only=False) for rank in range(2)]

    return run


@pytest.mark.parametrize("adapter", [{"rank": 2}, None], ids=["adapter", "all weights"])
def test_a_model_is_trained_stopped_while_it_scores_and_resumed(workshop, by_two, adapter):
    settings = {"adapter": adapter, "epochs": 1}
    alone = workshop.run(retrain.body, StageKind.RETRAIN, 0, **settings)
    last, total, _ = workshop.events.shown[-1]
    assert last == total
    (whole, stopped, resumed), others = by_two(StageKind.RETRAIN, 0, total - 23, **settings)

    assert others == [None, stopped, None]
    assert stopped.startswith("stopped while scoring")
    assert [name for name in whole if name != "shown" and resumed[name] != whole[name]] == []
    assert whole.keys() - {"metrics", "shown"} == alone.files.keys()
    found = read_table(io.BytesIO(whole["heldout_scores.parquet"]), EvaluatedPair)
    for pair, expected in zip(found, read_table(alone.files["heldout_scores.parquet"], EvaluatedPair), strict=True):
        assert (pair.id, pair.tokens_chosen) == (expected.id, expected.tokens_chosen)
        assert pair.score_chosen == pytest.approx(expected.score_chosen, abs=1e-2)


def test_a_policy_is_fine_tuned_stopped_and_resumed(workshop, by_two, bert, qwen):
    workshop.give(InputRole.PREPARED, workshop.tables, bert, qwen)
    settings = {"policy": POLICY | {"sft": {"epochs": 2, "answersPerStep": 4}}}
    alone = workshop.run(sft.body, StageKind.SFT, 0, **settings).files["model/model.safetensors"].read_bytes()
    (whole, stopped, resumed), others = by_two(StageKind.SFT, 0, 2, **settings)

    assert others == [None, stopped, None]
    assert stopped.startswith("stopped after step 2")
    assert [name for name in whole if name not in ("metrics", "shown") and resumed[name] != whole[name]] == []
    expected = tensors(alone)
    found = tensors(whole["model/model.safetensors"])
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], weight, rtol=0, atol=1e-5) for name, weight in expected.items())


def test_a_pool_is_labelled_to_the_last_bit_as_by_one_process(workshop, by_two, bert, tmp_path):
    write_plain(load(bert, Precision("cpu"), max_length=64, seed=2), tmp_path / "labeler")
    workshop.give(InputRole.LABELER, model=tmp_path / "labeler")
    alone = workshop.run(label.body, StageKind.LABEL, 1).files["labels.parquet"].read_bytes()
    first, second = by_two(StageKind.LABEL, 1, 1)

    assert all(stopped.startswith("stopped after") for stopped in (first[1], second[1]))
    for outputs in zip(first[::2], second[::2], strict=True):
        assert {output["labels.parquet"] for output in outputs if output is not None} == {alone}


@pytest.mark.parametrize("adapter", [{"rank": 2}, None], ids=["adapter", "all weights"])
def test_a_policy_is_aligned_to_the_last_bit_as_with_whole_models(workshop, by_two, bert, qwen, tmp_path, adapter):
    """Before and after, and in its steps, each process answers other prompts, whose lengths differ."""
    for role, base in ((InputRole.BEST, qwen), (InputRole.WITNESS, bert)):
        write_plain(load(base, Precision("cpu"), max_length=64, seed=1), tmp_path / role.value)
        workshop.give(role, model=tmp_path / role.value)
    workshop.give(InputRole.PREPARED, workshop.tables, bert, qwen)
    settings = {"policy": POLICY | {"adapter": adapter, "rolloutsPerStep": 7}}
    sharding = alignment.IN_PIECES if adapter else alignment.ALL_IN_PIECES
    (expected,), _ = by_two(StageKind.PPO, 0, sharding=replace(sharding, pieces=False), **settings)
    (found, stopped, resumed), others = by_two(StageKind.PPO, 0, 2, sharding, **settings)

    assert others == [None, stopped, None]
    assert stopped == "stopped after PPO step 2"
    assert expected["metrics"].critic == "rewardModel"
    for name in (one for one in expected if one.startswith("model/") or one == "answers.jsonl"):
        assert resumed[name] == found[name], name
        assert found[name] == expected[name], name
