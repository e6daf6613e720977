"""The stage `ppo`: from the best reward model and a policy to an aligned one, exactly also after a stop."""

import itertools
import json
from dataclasses import replace

import pytest
from plain_models import write_plain
from transformers import AutoModelForCausalLM, AutoTokenizer

from ser_core.api.spec.policy import PolicySpec
from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.data.tables import PolicyPrompt, PolicyStep, read_table
from ser_core.errors import Interrupted
from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy.alignment import Answer, summary
from ser_core.learn.policy.ppo.guards import HackingLimits, why_alike
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.learn.reward.reward_model import load
from ser_jobs.stages import ppo
from ser_jobs.stages.ppo import body

POLICY = {
    "base": "hf://organisation/policy",
    "steps": 4,
    "rolloutsPerStep": 8,
    "promptTokens": 40,
    "answerTokens": 6,
    "learningRate": 1e-3,
    "criticLearningRate": 1e-3,
    "epochs": 2,
    "minibatches": 2,
    "precision": "fp32",
}


@pytest.fixture
def reward_model(tmp_path):
    def make(base, seed):
        folder = tmp_path / f"reward-{seed}"
        write_plain(load(base, Precision("cpu"), max_length=64, seed=seed), folder)
        return folder

    return make


@pytest.fixture
def alignment(workshop, bert, qwen, reward_model):
    workshop.give(InputRole.PREPARED, workshop.tables, bert, qwen)
    workshop.give(InputRole.BEST, model=reward_model(bert, 1))
    workshop.give(InputRole.WITNESS, model=reward_model(bert, 2))
    return workshop


def weights(output):
    return output.files["model/model.safetensors"].read_bytes()


def answers(output):
    return [json.loads(line) for line in output.files["answers.jsonl"].read_text().splitlines()]


def history(output):
    return read_table(output.files["ppo.parquet"], PolicyStep)


def test_a_policy_is_aligned_and_measured_before_and_after(alignment, qwen):
    output = alignment.run(body, StageKind.PPO, policy=POLICY)

    metrics = output.metrics
    assert (metrics.steps, metrics.kept_step, metrics.prompts, metrics.heldout_prompts) == (4, 4, 16, 12)
    assert metrics.before.kl == pytest.approx(0, abs=1e-5)
    assert metrics.after.kl != metrics.before.kl
    assert metrics.change_low < metrics.after.score - metrics.before.score < metrics.change_high
    assert (metrics.critic, metrics.stopped) == ("policy", "")
    assert [step.step for step in history(output)] == [1, 2, 3, 4]
    assert all(step.witness_score is not None for step in history(output))
    assert weights(output) != (qwen / "model.safetensors").read_bytes()
    assert AutoModelForCausalLM.from_pretrained(output.files["model/config.json"].parent).config.model_type == "qwen2"
    assert AutoTokenizer.from_pretrained(output.files["model/config.json"].parent).eos_token == "<|endoftext|>"


def test_answers_that_the_reward_model_does_not_read_whole_are_told(alignment, bert, qwen):
    def notes():
        notes = alignment.run(body, StageKind.PPO, policy={**POLICY, "steps": 1}).metrics.notes
        return [note.partition(" answers")[0] for note in notes if "maxLength 64): what was cut is not scored" in note]

    assert notes() == []
    kind, (one, *others) = alignment.tables["heldout.parquet"]
    long = {"heldout.parquet": (kind, [replace(one, prompt=one.prompt + " word" * 64), *others])}
    alignment.give(InputRole.PREPARED, alignment.tables | long, bert, qwen)
    assert notes() == ["1 of 12"]


def test_the_answers_stand_side_by_side_and_give_the_means(alignment):
    output = alignment.run(body, StageKind.PPO, policy=POLICY)

    rows = answers(output)
    assert [row["prompt"] for row in rows] == [pair.prompt for pair in alignment.tables["heldout.parquet"][1]]
    assert sum(row["after"]["score"] for row in rows) / len(rows) == pytest.approx(output.metrics.after.score)
    assert len({row["after"]["text"] for row in rows}) / len(rows) == output.metrics.after.distinct
    assert sum(row["before"]["witness_score"] for row in rows) / len(rows) == pytest.approx(output.metrics.before.witness_score)


def test_held_out_pairs_of_one_prompt_give_a_change_without_an_interval(alignment, bert, qwen):
    kind, pairs = alignment.tables["heldout.parquet"]
    one_prompt = {"heldout.parquet": (kind, [replace(pair, prompt=pairs[0].prompt) for pair in pairs])}
    alignment.give(InputRole.PREPARED, alignment.tables | one_prompt, bert, qwen)

    metrics = alignment.run(body, StageKind.PPO, policy=POLICY).metrics

    assert (metrics.heldout_prompts, metrics.change_low, metrics.change_high) == (1, None, None)


def test_a_policy_that_says_the_same_to_different_prompts_is_told():
    def said(*texts):
        return summary([Answer("prompt", text, 0.0, None, 0.0, 3, True) for text in texts])

    before = said("a", "b", "c", "d")
    assert why_alike(before, said("a", "b", "a", "b")) == ""
    assert why_alike(before, said("a", "a", "a", "a")).startswith(
        "of its answers to held-out prompts 25 % are different ones, before PPO 100 % were"
    )


@pytest.mark.parametrize("question", [2, 7, 13])
def test_a_stopped_alignment_goes_on_to_the_same_bits(alignment, question):
    undisturbed = alignment.run(body, StageKind.PPO, policy=POLICY)
    alignment.context(StageKind.PPO, 0).checkpoints.delete_all()  # of a slow machine
    questions = itertools.count()
    with pytest.raises(Interrupted):
        alignment.run(body, StageKind.PPO, policy=POLICY, stopping=lambda: next(questions) >= question)

    resumed = alignment.run(body, StageKind.PPO, policy=POLICY)
    assert weights(resumed) == weights(undisturbed)
    assert answers(resumed) == answers(undisturbed)
    assert resumed.metrics == undisturbed.metrics


def test_held_out_answers_and_labels_change_nothing(alignment, workshop, bert, qwen):
    undisturbed = alignment.run(body, StageKind.PPO, policy=POLICY)
    row, pairs = workshop.tables["heldout.parquet"]
    flipped = [type(pair)(pair.id, pair.prompt, pair.rejected, pair.chosen, pair.source) for pair in pairs]
    workshop.give(InputRole.PREPARED, workshop.tables | {"heldout.parquet": (row, flipped)}, bert, qwen)

    assert weights(workshop.run(body, StageKind.PPO, 1, policy=POLICY)) == weights(undisturbed)


def test_prompts_of_their_own_take_the_place_of_those_of_the_pool(workshop, bert, qwen, reward_model):
    prompts = {"prompts.parquet": (PolicyPrompt, [PolicyPrompt("w1"), PolicyPrompt("w2")])}
    workshop.give(InputRole.PREPARED, workshop.tables | prompts, bert, qwen)
    workshop.give(InputRole.BEST, model=reward_model(bert, 1))

    output = workshop.run(body, StageKind.PPO, policy=POLICY)
    assert output.metrics.prompts == 2
    assert output.metrics.after.witness_score is None


def test_a_reward_model_that_reads_like_the_policy_becomes_the_critic(workshop, bert, qwen, reward_model):
    workshop.give(InputRole.PREPARED, workshop.tables, bert, qwen)
    workshop.give(InputRole.BEST, model=reward_model(qwen, 1))

    assert workshop.run(body, StageKind.PPO, policy=POLICY).metrics.critic == "rewardModel"


def test_a_fine_tuned_policy_is_where_ppo_starts(alignment, qwen, tmp_path):
    network = AutoModelForCausalLM.from_pretrained(qwen)
    network.lm_head.weight.data.mul_(3)
    network.save_pretrained(tmp_path / "tuned")
    AutoTokenizer.from_pretrained(qwen).save_pretrained(tmp_path / "tuned")
    from_base = alignment.run(body, StageKind.PPO, policy=POLICY)
    alignment.give(InputRole.POLICY, model=tmp_path / "tuned")

    tuned = alignment.run(body, StageKind.PPO, 1, policy=POLICY)
    assert tuned.metrics.before.kl == pytest.approx(0, abs=1e-5)
    assert tuned.metrics.before.score != from_base.metrics.before.score


def test_a_sign_of_reward_hacking_commits_the_last_good_policy_and_says_so(alignment, monkeypatch):
    settings_of = ppo.settings_of
    strict = HackingLimits(window=2, kl=0.1)
    monkeypatch.setattr(ppo, "settings_of", lambda *spec, **rest: replace(settings_of(*spec, **rest), hacking=strict))
    spec = {**POLICY, "steps": 20, "learningRate": 0.01, "kl": {"coefficient": 0}}
    output = alignment.run(body, StageKind.PPO, policy=spec)

    metrics = output.metrics
    assert metrics.stopped == "PolicyTooFar"
    assert metrics.kept_step < metrics.steps < 20
    assert "nats from the reference" in metrics.notes[0]
    until_then = alignment.run(body, StageKind.PPO, 1, policy={**spec, "steps": metrics.kept_step})
    assert weights(output) == weights(until_then)


def test_without_a_critic_none_is_made_and_its_numbers_are_absent(alignment, monkeypatch):
    monkeypatch.setattr(ppo, "make_critic", None)
    output = alignment.run(body, StageKind.PPO, policy={**POLICY, "advantage": "rloo", "answersPerPrompt": 4})

    assert output.metrics.critic == ""
    assert {(step.value_loss, step.explained_variance, step.critic_gradient_norm) for step in history(output)} == {(None, None, None)}
    assert output.metrics.after.kl != 0


def test_a_new_critic_learns_alone_only_while_a_step_is_left_for_the_policy():
    specs = [PolicySpec(base="hf://a/b", steps=steps) for steps in (1, 2, 20, 21)]
    made = [ppo.settings_of(spec, tokens_per_batch=512, seed=7, new_critic=True).critic_warm_up for spec in specs]
    assert made == [0, 1, 1, 2]


def test_every_setting_of_the_spec_reaches_ppo():
    compared = {"advantage": "rloo", "answersPerPrompt": 4}
    spec = PolicySpec.model_validate({"base": "hf://a/b", "kl": {"coefficient": 0.2, "target": 4}, "steps": 50, **compared})
    made = ppo.settings_of(spec, tokens_per_batch=512, seed=7, new_critic=True)
    assert (made.kl_coefficient, made.kl_target, made.tokens_per_batch, made.seed, made.critic_warm_up) == (0.2, 4, 512, 7, 3)
    assert (made.advantage, made.answers_per_prompt) == ("rloo", 4)
    left_out = ppo.settings_of(PolicySpec(base="hf://a/b"), tokens_per_batch=8192, seed=0, new_critic=False)
    assert left_out == Settings()
