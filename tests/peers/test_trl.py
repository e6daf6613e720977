"""A causal reward model and an aligned policy in TRL's trainers."""

import statistics

import pytest
from peers.exports import ANSWERS, KINDS, PROMPTS, decoder, messages, policy

from ser_core.learn.policy.generation import encode_prompts

trl = pytest.importorskip("trl", reason="TRL is not installed here: make peers installs it")
datasets = pytest.importorskip("datasets", reason="datasets is not installed here: make peers installs it")
pytestmark = pytest.mark.filterwarnings("ignore")
STILL = {"report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}


@pytest.fixture(params=[*KINDS, "custom"])
def export(request, tmp_path):
    return decoder(tmp_path, "first", "word: {prompt}\nfoo {answer}") if request.param == "custom" else decoder(tmp_path, request.param)


def test_grpo_trainer_gives_the_scores_of_the_run(export, tmp_path):
    from transformers import AutoTokenizer

    aligned, seen = policy(tmp_path, "always"), []

    def watch(prompts, completions, prompt_ids=None, **_):
        seen.extend((prompt[0]["content"], answer[0]["content"]) for prompt, answer in zip(prompts, completions, strict=True))
        return [0.0] * len(prompts)

    settings = trl.GRPOConfig(
        str(tmp_path / "out"), max_steps=1, per_device_train_batch_size=4, num_generations=2, max_completion_length=6, **STILL
    )
    trainer = trl.GRPOTrainer(
        model=str(aligned),
        reward_funcs=[str(export.folder), watch],
        args=settings,
        train_dataset=datasets.Dataset.from_list([{"prompt": messages(prompt)} for prompt in PROMPTS * 2]),
    )
    trainer.train()

    (name,) = (key for key in trainer.state.log_history[0] if key.startswith("rewards/") and key.endswith("/mean") and "watch" not in key)
    assert trainer.state.log_history[0][name] == pytest.approx(statistics.fmean(export.scores(*zip(*seen, strict=True))), abs=1e-5)
    tokens = AutoTokenizer.from_pretrained(aligned)
    asked = [tokens.apply_chat_template(messages(prompt), add_generation_prompt=True, return_dict=False) for prompt in PROMPTS]
    assert asked == [list(prompt.tokens) for prompt in encode_prompts(tokens, PROMPTS, tokens=99)]


@pytest.mark.parametrize("explicit", [True, False])
def test_reward_trainer_goes_on_from_it_with_the_same_ids(export, tmp_path, explicit):
    pairs = list(zip(PROMPTS, ANSWERS, ANSWERS[::-1], strict=True))
    rows = [
        {"prompt": messages(prompt), "chosen": messages(prompt, chosen)[1:], "rejected": messages(prompt, rejected)[1:]}
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
