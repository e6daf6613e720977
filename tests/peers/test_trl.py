"""A causal reward model and an aligned policy in TRL's trainers."""

import statistics

import pytest
from peers.exports import ANSWERS, DIALOGUE, KINDS, PROMPTS, decoder, messages, policy, prompt_of

from ser_core.api.spec.training import TrainingSpec
from ser_core.learn.policy.generation import encode_prompts
from ser_core.learn.reward.batching import pad
from ser_core.learn.reward.training import TrainingPair, pair_losses

trl = pytest.importorskip("trl", reason="TRL is not installed here: make peers installs it")
datasets = pytest.importorskip("datasets", reason="datasets is not installed here: make peers installs it")
pytestmark = pytest.mark.filterwarnings("ignore")
STILL = {"report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}


@pytest.fixture(params=[*KINDS, "custom"])
def export(request, tmp_path):
    custom = request.param == "custom"
    return decoder(tmp_path, "first", "custom", "word: {prompt}\nfoo {answer}") if custom else decoder(tmp_path, request.param)


def test_grpo_trainer_gives_the_scores_of_the_run(export, tmp_path):
    grpo_gives_the_scores_of_the_run(export, policy(tmp_path, "always"), PROMPTS, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_grpo_trainer_gives_them_for_dialogues_in_a_chat_template(kind, tmp_path):
    export, aligned = decoder(tmp_path, kind, "chat"), policy(tmp_path, kind, "chat")
    grpo_gives_the_scores_of_the_run(export, aligned, (*PROMPTS[:2], DIALOGUE), tmp_path)


def grpo_gives_the_scores_of_the_run(export, aligned, asked_for, tmp_path):
    from transformers import AutoTokenizer

    seen = []

    def watch(prompts, completions, prompt_ids=None, **_):
        seen.extend((prompt_of(prompt), answer[0]["content"]) for prompt, answer in zip(prompts, completions, strict=True))
        return [0.0] * len(prompts)

    settings = trl.GRPOConfig(
        str(tmp_path / "out"), max_steps=1, per_device_train_batch_size=4, num_generations=2, max_completion_length=6, **STILL
    )
    trainer = trl.GRPOTrainer(
        model=str(aligned),
        reward_funcs=[str(export.folder), watch],
        args=settings,
        train_dataset=datasets.Dataset.from_list([{"prompt": messages(prompt)} for prompt in asked_for * 2]),
    )
    trainer.train()

    (name,) = (key for key in trainer.state.log_history[0] if key.startswith("rewards/") and key.endswith("/mean") and "watch" not in key)
    assert trainer.state.log_history[0][name] == pytest.approx(statistics.fmean(export.scores(*zip(*seen, strict=True))), abs=1e-5)
    tokens = AutoTokenizer.from_pretrained(aligned)
    asked = [tokens.apply_chat_template(messages(prompt), add_generation_prompt=True, return_dict=False) for prompt in asked_for]
    assert asked == [list(prompt.tokens) for prompt in encode_prompts(tokens, asked_for, tokens=99)]


@pytest.mark.parametrize("explicit", [True, False])
def test_reward_trainer_goes_on_from_it_with_the_same_ids(export, tmp_path, explicit):
    reward_trainer_reads_the_same_ids(export, list(zip(PROMPTS, ANSWERS, ANSWERS[::-1], strict=True)), tmp_path, explicit)


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_reward_trainer_reads_dialogues_in_a_chat_template_with_the_same_ids(kind, tmp_path, explicit):
    pairs = [(PROMPTS[0], "good", "bad word"), (DIALOGUE, "it's bad.", "foo, then\nbar")]
    reward_trainer_reads_the_same_ids(decoder(tmp_path, kind, "chat"), pairs, tmp_path, explicit)


def test_a_margin_costs_what_it_costs_in_reward_trainer(tmp_path):
    export, margins = decoder(tmp_path, "always"), [0.0, 0.5, 3.0]
    pairs = [(PROMPTS[0], "good word", "bad"), (PROMPTS[1], "good", "bad word"), (PROMPTS[2], "foo", "bar")]
    rows = [
        {"prompt": messages(prompt), "chosen": messages(prompt, one)[-1:], "rejected": messages(prompt, two)[-1:], "margin": margin}
        for (prompt, one, two), margin in zip(pairs, margins, strict=True)
    ]
    settings = trl.RewardConfig(str(tmp_path / "out"), max_length=None, remove_unused_columns=False, **STILL)
    data = datasets.Dataset.from_list(rows)
    loss = trl.RewardTrainer(str(export.folder), settings, train_dataset=data, eval_dataset=data).evaluate()["eval_loss"]

    own = [
        TrainingPair(*export.own.encoder.rows([prompt] * 2, [one, two]), margin=margin)
        for (prompt, one, two), margin in zip(pairs, margins, strict=True)
    ]
    batch = pad([pair.better for pair in own] + [pair.worse for pair in own], export.own.tokenizer.pad_token_id)
    found = pair_losses(export.own.score(batch), own, TrainingSpec(centering=0))
    assert loss == pytest.approx(found.mean().item(), abs=1e-5)


def reward_trainer_reads_the_same_ids(export, pairs, tmp_path, explicit):
    rows = [
        {"prompt": messages(prompt), "chosen": messages(prompt, chosen)[-1:], "rejected": messages(prompt, rejected)[-1:]}
        if explicit
        else {"chosen": messages(prompt, chosen), "rejected": messages(prompt, rejected)}
        for prompt, chosen, rejected in pairs
    ]
    settings = trl.RewardConfig(str(tmp_path / "out"), max_steps=1, max_length=None, learning_rate=0.0, **STILL)
    trainer = trl.RewardTrainer(
        str(export.folder), settings, train_dataset=datasets.Dataset.from_list(rows), eval_dataset=datasets.Dataset.from_list(rows)
    )
    margins = [float(better - worse) for better, worse in (export.scores([prompt] * 2, [one, two]) for prompt, one, two in pairs)]

    assert [row["chosen_ids"] for row in trainer.train_dataset] == [export.ids(prompt, chosen) for prompt, chosen, _ in pairs]
    assert [row["rejected_ids"] for row in trainer.train_dataset] == [export.ids(prompt, rejected) for prompt, _, rejected in pairs]
    assert trainer.evaluate()["eval_margin"] == pytest.approx(statistics.fmean(margins), abs=1e-5)
    trainer.train()
