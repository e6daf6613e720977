"""The stage `sft`: the policy learns the chosen answers of the seed, and goes on where it was stopped."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.data.tables import LabeledPair, SupervisedStep, read_table
from ser_core.errors import DataError, Interrupted
from ser_core.learn.policy.policy import export_stored
from ser_jobs.stages.sft import body

POLICY = {
    "base": "hf://organisation/policy",
    "sft": {"epochs": 3, "learningRate": 0.01, "answersPerStep": 8},
    "promptTokens": 40,
    "answerTokens": 40,
    "precision": "fp32",
}


@pytest.fixture
def tuning(workshop, bert, qwen):
    workshop.give(InputRole.PREPARED, workshop.tables, bert, qwen)
    return workshop


def weights(output):
    return output.files["model/model.safetensors"].read_bytes()


def after(tuning, step):
    """Asks to stop once that many steps are taken."""
    tuning.events.shown.clear()
    return lambda: tuning.events.shown[-1][0] >= step


def loss_of(folder, prompt, answer):
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([tokenizer(f"Question: {prompt}\n\nAnswer: {answer}")["input_ids"]])
    with torch.no_grad():
        return network(input_ids=ids, labels=ids).loss.item()


def test_the_policy_learns_the_chosen_answers_of_the_seed(tuning, qwen):
    output = tuning.run(body, StageKind.SFT, policy=POLICY)

    metrics = output.metrics
    cut = sum(len(f" {pair.chosen}") + 1 > 40 for pair in tuning.tables["seed.parquet"][1])  # a token a character, and the end token
    assert (metrics.steps, metrics.answers, metrics.truncated) == (9, 24, cut)
    assert metrics.last_loss < metrics.first_loss
    assert read_table(output.files["sft.parquet"], SupervisedStep)[0] == SupervisedStep(1, metrics.first_loss)
    assert tuning.events.shown[-1] == (9, 9, "steps")
    folder = output.files["model/config.json"].parent
    assert loss_of(folder, "w1", "w1 w20 w30") < loss_of(qwen, "w1", "w1 w20 w30")


def test_a_stopped_fine_tuning_goes_on_to_the_same_weights(tuning):
    undisturbed = weights(tuning.run(body, StageKind.SFT, policy=POLICY))
    with pytest.raises(Interrupted, match="after step 4"):
        tuning.run(body, StageKind.SFT, policy=POLICY, stopping=after(tuning, 4))

    tuning.events.shown.clear()
    assert weights(tuning.run(body, StageKind.SFT, policy=POLICY)) == undisturbed
    assert [step for step, *_ in tuning.events.shown] == [0, 5, 6, 7, 8, 9]


def test_a_checkpoint_of_an_earlier_version_is_set_aside_and_the_fine_tuning_starts_again(tuning, tmp_path):
    undisturbed = weights(tuning.run(body, StageKind.SFT, policy=POLICY))
    names = ("model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json")
    for name in names:
        (tmp_path / name).write_bytes(b"of an earlier version")
    checkpoints = tuning.context(StageKind.SFT, 0).checkpoints
    checkpoints.save(4, {name: tmp_path / name for name in names})

    with pytest.raises(Interrupted):
        tuning.run(body, StageKind.SFT, policy=POLICY, stopping=after(tuning, 2))
    assert "checkpoint-set-aside" in tuning.events.told
    assert checkpoints.newest_step() == 2

    tuning.events.told.clear()
    assert weights(tuning.run(body, StageKind.SFT, policy=POLICY)) == undisturbed
    assert "checkpoint-set-aside" not in tuning.events.told


@pytest.mark.parametrize("changed", [{"template": "custom", "templateText": "ask: {prompt} say: {answer}"}, {"promptTokens": 3}])
def test_what_was_learnt_in_another_text_is_set_aside_and_the_fine_tuning_starts_again(tuning, changed):
    with pytest.raises(Interrupted):
        tuning.run(body, StageKind.SFT, policy=POLICY, stopping=after(tuning, 4))

    tuning.events.shown.clear()
    tuning.run(body, StageKind.SFT, policy={**POLICY, **changed})
    assert "checkpoint-set-aside" in tuning.events.told
    assert [step for step, *_ in tuning.events.shown] == list(range(10))


def test_an_adapter_is_stored_beside_a_pointer_to_the_base(tuning, qwen, tmp_path):
    context = tuning.context(StageKind.SFT, policy={**POLICY, "adapter": {"rank": 2, "alpha": 4}})
    output = body(context)

    assert "model/adapter_model.safetensors" in output.files
    assert not any(name.startswith("model/base/") for name in output.files)
    policy = context.inputs[InputRole.PREPARED].outputs
    assert output.stored == {f"model/base/{name[len('policy/') :]}": part for name, part in policy.items() if name.startswith("policy/")}
    export_stored(output.files["model/adapter_config.json"].parent, tmp_path / "plain")
    assert loss_of(tmp_path / "plain", "w1", "w1 w20 w30") != loss_of(qwen, "w1", "w1 w20 w30")


def test_neither_dev_nor_pool_nor_held_out_answers_are_learnt(tuning, workshop, bert, qwen):
    first = weights(tuning.run(body, StageKind.SFT, policy=POLICY))
    others = {name: (row, rows if name == "seed.parquet" else []) for name, (row, rows) in workshop.tables.items()}
    workshop.give(InputRole.PREPARED, others, bert, qwen)

    assert weights(workshop.run(body, StageKind.SFT, 1, policy=POLICY)) == first


@pytest.mark.parametrize(("loop", "answers"), [({"folds": 2}, 36), ({"folds": 2, "rule": "paper"}, 24), ({}, 24)])
def test_dev_answers_are_learnt_where_the_run_is_cross_fitted(tuning, loop, answers):
    assert tuning.run(body, StageKind.SFT, policy=POLICY, **loop).metrics.answers == answers


def test_a_fine_tuning_that_began_without_the_dev_answers_starts_again(tuning):
    with pytest.raises(Interrupted):
        tuning.run(body, StageKind.SFT, policy=POLICY, stopping=after(tuning, 4))
    assert tuning.run(body, StageKind.SFT, policy=POLICY, folds=2).metrics.answers == 36
    assert "checkpoint-set-aside" in tuning.events.told


def test_a_seed_without_training_pairs_is_refused(workshop, bert, qwen):
    workshop.give(InputRole.PREPARED, workshop.tables | {"seed.parquet": (LabeledPair, [])}, bert, qwen)
    with pytest.raises(DataError, match="no training pair"):
        workshop.run(body, StageKind.SFT, policy=POLICY)
