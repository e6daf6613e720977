"""Networks small enough to compute by hand, generators whose answers are known, and a watch."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from unit.learn.watches import Answers

from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy.generation import Prompt
from ser_core.learn.policy.policy import Policy
from ser_core.learn.policy.ppo.critic import Critic, values_of_tokens
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.state import SavedState

END = 0
CPU = Precision("cpu")
CONFIG = SimpleNamespace(to_dict=dict)


class Numbers:
    """A tokenizer whose texts are the token ids, without the end token."""

    def batch_decode(self, answers: Sequence[Sequence[int]], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> list[str]:
        assert skip_special_tokens
        assert not clean_up_tokenization_spaces
        return [" ".join(str(token) for token in answer if token != END) for answer in answers]


class Same(nn.Module):
    """A head that gives all states the same logits."""

    def __init__(self, logits: Sequence[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden * self.logits


class Table(nn.Module):
    """A policy that says each token with the same logit, whatever stands before it."""

    def __init__(self, logits: Sequence[float]) -> None:
        super().__init__()
        self.head = Same(logits)
        self.logits = self.head.logits
        self.config = CONFIG

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(torch.ones(*input_ids.shape, 1)))


class Ones(nn.Module):
    def forward(self, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=torch.ones(*input_ids.shape, 1))


class Constant(nn.Module):
    """A critic that values all states alike."""

    def __init__(self) -> None:
        super().__init__()
        self.base_model = Ones()
        self.config = CONFIG
        self.score = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.score.weight)


def table(logits: Sequence[float]) -> tuple[Policy, Critic]:
    """The two as `align` takes them."""
    policy = Policy(Table(logits), Table(logits).requires_grad_(False), Numbers(), (END,), CPU, in_chunks=False)
    return policy, Critic(values_of_tokens(Constant(), CPU), False, CPU)


class Sampler:
    """Answers of a table's policy, each until its end token."""

    def __init__(self, policy: Policy) -> None:
        self._network = policy.network

    def generate(self, prompts: Sequence[Sequence[int]], *, tokens: int, temperature: float) -> list[list[int]]:
        chances = (self._network.logits.detach() / temperature).softmax(-1)
        return [torch.multinomial(chances, tokens, replacement=True).tolist() for _ in prompts]


class Script:
    """Gives every prompt the same answer each time."""

    def __init__(self, answer: Callable[[Sequence[int]], list[int]]) -> None:
        self._answer = answer

    def generate(self, prompts: Sequence[Sequence[int]], *, tokens: int, temperature: float) -> list[list[int]]:
        return [self._answer(prompt)[:tokens] for prompt in prompts]


class Judge:
    """Scores by a rule."""

    def __init__(self, rule: Callable[[str, str], float]) -> None:
        self._rule = rule

    def scores(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [self._rule(*pair) for pair in zip(prompts, answers, strict=True)]


class Watch(Answers):
    """Keeps copies of the states that it is given."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.saved: list[SavedState] = []
        self.metrics: list[StepMetrics] = []

    def save(self, saved: SavedState) -> None:
        self.saved.append(deepcopy(saved))

    def stepped(self, metrics: StepMetrics) -> None:
        self.metrics.append(metrics)


def prompts(*lengths: int) -> list[Prompt]:
    """Prompts of those lengths, all different."""
    return [
        Prompt(f"prompt {number}", tuple((7 * number + place) % 200 + 1 for place in range(length)))
        for number, length in enumerate(lengths)
    ]
