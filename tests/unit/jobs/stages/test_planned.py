"""Stages carry out what was planned: moments, and models that only score, in main memory, and smaller batches."""

from dataclasses import replace
from importlib import import_module
from unittest.mock import patch

import pytest
from plain_models import write_plain
from unit.jobs.stages.test_ppo import POLICY

from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.learn.compute.offload import OffloadedAdamW
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import load
from ser_core.memory.amounts import amounts
from ser_core.memory.plan import StagePlan
from ser_core.memory.training import UNSHARDED, Sharding
from ser_jobs.training.memory_check import planned_sharding

PLAN = StagePlan("any", 1, 1, False, amounts({}), amounts({}), None, Sharding(0, recompute=False, offload=True))
SETTINGS = {
    StageKind.RETRAIN: {"epochs": 1},
    StageKind.SFT: {"policy": POLICY | {"sft": {"epochs": 1, "answersPerStep": 4}}},
    StageKind.PPO: {"policy": POLICY},
}


@pytest.fixture
def given(workshop, bert, qwen, tmp_path):
    """Gives the inputs of a kind of stage."""

    def give(kind):
        roles = {StageKind.PPO: (InputRole.BEST, InputRole.WITNESS), StageKind.LABEL: (InputRole.LABELER,)}.get(kind, ())
        for seed, role in enumerate(roles, 1):
            write_plain(load(bert, Precision("cpu"), max_length=64, seed=seed), tmp_path / role.value)
            workshop.give(role, model=tmp_path / role.value)
        if "policy" in SETTINGS.get(kind, {}):
            workshop.give(InputRole.PREPARED, workshop.tables, bert, qwen)

    return give


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_stage_with_moments_in_main_memory_writes_the_same_model(workshop, given, monkeypatch, kind):
    given(kind)
    stage = import_module(f"ser_jobs.stages.{kind.value}")
    plain = workshop.run(stage.body, kind, **SETTINGS[kind]).files
    expected = {name: path.read_bytes() for name, path in plain.items() if name.startswith("model/") or name == "answers.jsonl"}
    workshop.context(kind).checkpoints.delete_all()

    monkeypatch.setattr(stage, "refuse_what_does_not_fit", lambda *_: PLAN)
    change = OffloadedAdamW._change
    with patch.object(OffloadedAdamW, "_change", autospec=True, side_effect=change) as changes:
        found = workshop.run(stage.body, kind, **SETTINGS[kind]).files
    assert changes.called
    assert {name: found[name].read_bytes() for name in expected} == expected


@pytest.mark.parametrize(
    ("kind", "called", "tokens"),
    [
        (StageKind.LABEL, "score_pairs", lambda call: call.args[2]),
        (StageKind.RETRAIN, "train", lambda call: call.args[2].tokens_per_batch),
        (StageKind.SFT, "fine_tune", lambda call: call.kwargs["tokens_per_batch"]),
        (StageKind.PPO, "align", lambda call: call.args[5].tokens_per_batch),
    ],
)
def test_a_stage_takes_as_many_tokens_a_batch_as_was_planned(workshop, given, monkeypatch, kind, called, tokens):
    def planned(context, _folders):
        context.memory_plan.tell(replace(PLAN, sharding=UNSHARDED, tokens=64))
        return context.memory_plan.found

    given(kind)
    stage = import_module(f"ser_jobs.stages.{kind.value}")
    monkeypatch.setattr(stage, "refuse_what_does_not_fit", planned)
    with patch.object(stage, called, wraps=getattr(stage, called)) as calls:
        workshop.run(stage.body, kind, int(kind is StageKind.LABEL), **SETTINGS.get(kind, {}))
    assert {tokens(call) for call in calls.call_args_list} == {64}


def test_an_engine_chooses_by_itself_where_nothing_else_was_planned():
    assert planned_sharding(None) is None
    assert planned_sharding(PLAN) is PLAN.sharding
