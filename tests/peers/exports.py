"""Reward models and a policy as `ser export` writes them, and how they read."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from plain_models import write_plain
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, set_seed
from unit.learn.sentencepiece_like import policy as random_policy

from ser_core.api.spec.template import TemplateKind
from ser_core.data.reading.dialogues.turns import Turn, render_prompt, turns_of
from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.scoring import score_rows
from ser_core.learn.text.reference_text import form_of
from ser_core.report.learnt_text import tell_peers
from ser_core.report.told_sampling import tell_sampling

CPU = Precision("cpu")
KINDS = ("always", "first", "never")
"""Of tokenizers, as `unit.learn.sentencepiece_like` names them."""
PROMPTS = ("foo bar?", "What's good?", "a word\n\nof two")
ANSWERS = ("good word", "it's bad.", "  foo, then\nbar")
DIALOGUE = render_prompt([Turn("system", "Say foo."), Turn("user", "Is it good?"), Turn("assistant", "bad"), Turn("user", "Human: foo?")])
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for one in messages %}<|{{ one['role'] }}|>\n{{ one['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""That of Zephyr."""


@dataclass(frozen=True)
class Export:
    """A reward model's folder, and the run's own model of it."""

    folder: Path
    own: RewardModel

    def scores(self, prompts, answers):
        return score_rows(self.own, self.own.encoder.rows(prompts, answers), 4096)

    def ids(self, prompt, answer):
        return self.own.encoder.rows([prompt], [answer])[0].tokens.tolist()


def reward_model(base: Path, folder: Path, template: TemplateKind = "reference", text: str | None = None) -> Export:
    write_plain(load(base, CPU, max_length=200, form=form_of(template), template_text=text), folder)
    tell_peers(folder, "rewardModel")
    return Export(folder, load(folder, CPU, max_length=200))


def decoder(folder: Path, kind: str, template: TemplateKind = "reference", text: str | None = None, *, wide: bool = False) -> Export:
    base = _base(folder / "base", kind)
    return reward_model(widened(base, folder / "wide") if wide else base, folder / "reward-model", template, text)


def widened(base: Path, folder: Path) -> Path:
    """A random model of the same kind with attention heads of 64 numbers, which vLLM's CPU engine has a kernel for."""
    shutil.copytree(base, folder)
    found = AutoConfig.from_pretrained(base)
    config = type(found).from_pretrained(base, hidden_size=128, num_attention_heads=2, num_key_value_heads=2)
    set_seed(1)
    (AutoModelForCausalLM if "CausalLM" in found.architectures[0] else AutoModel).from_config(config).save_pretrained(folder)
    return folder


def policy(folder: Path, kind: str, template: TemplateKind = "reference") -> Path:
    write_plain(load_policy(_base(folder / "policy-base", kind), CPU, template=template), folder / "policy")
    tell_peers(folder / "policy", "policy")
    tell_sampling(folder / "policy", 0.7)
    return folder / "policy"


def _base(folder: Path, kind: str) -> Path:
    """A random model with a chat template, which only ``template: chat`` ever sees."""
    tokens = AutoTokenizer.from_pretrained(random_policy(folder, kind))
    tokens.chat_template = CHAT_TEMPLATE
    tokens.save_pretrained(folder)
    return folder


def messages(prompt: str, answer: str | None = None) -> list[dict[str, str]]:
    """A rendered prompt, and an answer to it, as everybody else writes them."""
    said = [{"role": turn.role, "content": turn.text} for turn in turns_of(prompt)]
    return said if answer is None else [*said, {"role": "assistant", "content": answer}]


def prompt_of(said: list[dict[str, str]]) -> str:
    """The prompt that `messages` has made these of."""
    return render_prompt([Turn(one["role"], one["content"]) for one in said])
