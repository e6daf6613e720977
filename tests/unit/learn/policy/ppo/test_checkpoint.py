"""The names in a checkpoint's files. Checkpoints outlive versions, so these names stay whatever the code calls a thing."""

import json

import pytest
import torch
from safetensors.torch import load_file
from unit.learn.policy.doubles import END, Judge, Script, Watch, prompts, table

from ser_core.learn.policy.ppo import checkpoint
from ser_core.learn.policy.ppo.guards import HackingLimits
from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings

STEP = """
    step reward score heldout_score kl kl_coefficient entropy answer_tokens ended policy_loss value_loss approximate_kl clipped
    explained_variance policy_gradient_norm critic_gradient_norm updates skipped rolled_back ended_early rate_factor generate_seconds
    score_seconds train_seconds distinct repeated distinct_triples
"""
SETTINGS = Settings(answers_per_step=4, answer_tokens=2, step_kl_limit=None, hacking=HackingLimits(window=2, kl=1e9))


@pytest.fixture
def saved():
    """After two steps, with a witness."""
    watch, policy, critic = Watch(always_due=True), *table([0.0] * 4)
    script, judge = Script(lambda prompt: [len(prompt), END]), Judge(lambda _, text: float(text))
    witness = Judge(lambda _, text: 10.0 + float(text))
    align(policy, critic, script, prompts(1, 2, 3), judge, SETTINGS, steps=2, watch=watch, witness=witness)
    return watch.saved[-1]


def test_the_stored_names_of_numbers_are_those_of_version_0_1_0(saved, tmp_path):
    checkpoint.write(saved, tmp_path)

    stored = json.loads((tmp_path / "ppo.json").read_text())
    assert list(stored) == ["history", "kl_coefficient", "ladder", "score_mean", "good_step"]
    assert [list(step) for step in stored["history"]] == [STEP.split()] * 2
    assert list(stored["ladder"]) == ["skipped_in_a_row", "roll_backs", "rate_factor"]
    assert [step["heldout_score"] - step["score"] for step in stored["history"]] == [10.0, 10.0]


def test_the_stored_names_of_tensors_are_those_of_version_0_1_0(saved, tmp_path):
    checkpoint.write(saved, tmp_path)

    kinds = ("weight", "exp_avg", "exp_avg_sq", "step")
    expected = {f"{owner}/{kind}/{name}" for owner, name in (("policy", "logits"), ("critic", "score.weight")) for kind in kinds}
    assert load_file(tmp_path / "ppo.safetensors").keys() == expected | {"good/policy/logits", "good/critic/score.weight", "random/cpu"}


def test_what_is_written_is_read(saved, tmp_path):
    checkpoint.write(saved, tmp_path)
    read = checkpoint.read(tmp_path)
    again, state = read.state, saved.state

    assert (again.history, again.ladder) == (state.history, state.ladder)
    assert (again.kl_coefficient, again.score_mean, again.good.step) == (state.kl_coefficient, state.score_mean, 2)
    tensors, expected = (checkpoint.stored_tensors(one) for one in (read, saved))
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def test_a_checkpoint_of_version_0_1_0_has_no_numbers_of_repetition_and_moments_of_scores(saved, tmp_path):
    checkpoint.write(saved, tmp_path)
    stored = json.loads((tmp_path / "ppo.json").read_text())
    older = [
        {name: value for name, value in step.items() if name not in ("distinct", "repeated", "distinct_triples")}
        for step in stored["history"]
    ]
    (tmp_path / "ppo.json").write_text(json.dumps(stored | {"history": older, "scores": {"count": 9, "mean": 0.5, "squares": 2.0}}))

    assert [(step.distinct, step.repeated, step.distinct_triples) for step in checkpoint.read(tmp_path).state.history] == [
        (None, None, None)
    ] * 2
