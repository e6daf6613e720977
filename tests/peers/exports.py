"""Reward models and a policy as `ser export` writes them, and how they read."""

from dataclasses import dataclass
from pathlib import Path

from unit.learn.sentencepiece_like import policy as random_policy

from ser_core.learn.compute.precision import Precision
from ser_core.learn.compute.reference_text import Form
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.scoring import score_rows
from ser_core.report.learnt_text import tell_peers

CPU = Precision("cpu")
KINDS = ("always", "first", "never")
"""Of tokenizers, as `unit.learn.sentencepiece_like` names them."""
PROMPTS = ("foo bar?", "What's good?", "a word\n\nof two")
ANSWERS = ("good word", "it's bad.", "  foo, then\nbar")


@dataclass(frozen=True)
class Export:
    """A reward model's folder, and the run's own model of it."""

    folder: Path
    own: RewardModel

    def scores(self, prompts, answers):
        return score_rows(self.own, self.own.encoder.rows(prompts, answers), 4096)

    def ids(self, prompt, answer):
        return self.own.encoder.rows([prompt], [answer])[0].tokens.tolist()


def reward_model(base: Path, folder: Path, text: str | None = None) -> Export:
    load(base, CPU, max_length=200, form=Form.ONE_TEXT if text is None else Form.CHAT, template_text=text).export(folder)
    tell_peers(folder, "rewardModel")
    return Export(folder, load(folder, CPU, max_length=200))


def decoder(folder: Path, kind: str, text: str | None = None) -> Export:
    return reward_model(random_policy(folder / "base", kind), folder / "reward-model", text)


def policy(folder: Path, kind: str) -> Path:
    load_policy(random_policy(folder / "policy-base", kind), CPU).export(folder / "policy")
    tell_peers(folder / "policy", "policy")
    return folder / "policy"


def messages(prompt: str, answer: str | None = None) -> list[dict[str, str]]:
    said = [{"role": "user", "content": prompt}]
    return said if answer is None else [*said, {"role": "assistant", "content": answer}]
