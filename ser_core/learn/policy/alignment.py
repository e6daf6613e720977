"""What a policy is worth: its answers to prompts that it never learnt on, judged by the reward model that it learns from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch

from ser_core.api.stage import PolicyEvaluation
from ser_core.learn.policy.batches import micro_batches, sequences
from ser_core.learn.policy.generation import Generator, Prompt, until_end
from ser_core.learn.policy.policy import Policy
from ser_core.learn.policy.scorers import Scorer

_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Answer:
    """One sampled answer."""

    prompt: str
    text: str
    score: float
    """Raw, of the reward model that the policy learns from, in logits."""
    witness_score: float | None
    kl: float
    """``log policy - log reference`` of the whole answer, in nats."""
    tokens: int
    ended: bool


def answer_all(
    policy: Policy,
    generator: Generator,
    prompts: Sequence[Prompt],
    rewards: Scorer,
    witness: Scorer | None,
    *,
    tokens: int,
    temperature: float,
    tokens_per_batch: int,
    seed: int,
) -> list[Answer]:
    """Sample and judge one answer for each prompt.

    Args:
        policy: Whose answers are judged.
        generator: Answers with its weights.
        prompts: In a fixed order.
        rewards: The policy learns from its scores.
        witness: Another judge, from which it does not learn.
        tokens: Longest answer.
        temperature: Of the samples.
        tokens_per_batch: Of a batch in which probabilities are computed, padding included.
        seed: The same seed gives the same policy the same answers.
    """
    torch.manual_seed(seed)
    found = generator.generate([prompt.tokens for prompt in prompts], tokens=tokens, temperature=temperature)
    cut = [until_end(answer, policy.end_tokens) for answer in found]
    questions, texts = [prompt.text for prompt in prompts], policy.texts([answer for answer, _ in cut])
    scores = list(rewards.scores(questions, texts))
    seen: list[float | None] = [None] * len(prompts) if witness is None else list(witness.scores(questions, texts))
    kl = _divergences(policy, prompts, [answer for answer, _ in cut], temperature, tokens_per_batch)
    return [
        Answer(question, text, float(score), None if other is None else float(other), distance, len(answer), ended)
        for question, text, score, other, distance, (answer, ended) in zip(questions, texts, scores, seen, kl, cut, strict=True)
    ]


@torch.no_grad()
def _divergences(policy: Policy, prompts: Sequence[Prompt], answers: Sequence[list[int]], temperature: float, budget: int) -> list[float]:
    device = policy.precision.device
    found = [0.0] * len(prompts)
    lengths = [len(prompt.tokens) for prompt in prompts], [len(answer) for answer in answers]
    for members in micro_batches(*lengths, policy.precision.batch_tokens(budget)):
        batch = sequences([prompts[row].tokens for row in members], [answers[row] for row in members], device)
        apart = policy.log_probabilities(batch, temperature) - policy.reference_log_probabilities(batch, temperature)
        for row, distance in zip(members, apart.sum(-1).tolist(), strict=True):
            found[row] = distance
    return found


def summary(answers: Sequence[Answer]) -> PolicyEvaluation:
    """Means over the answers."""
    seen = [answer.witness_score for answer in answers if answer.witness_score is not None]
    return PolicyEvaluation(
        score=fmean(answer.score for answer in answers),
        witness_score=fmean(seen) if seen else None,
        kl=fmean(answer.kl for answer in answers),
        answer_tokens=fmean(answer.tokens for answer in answers),
        ended=fmean(answer.ended for answer in answers),
    )


def change(before: Sequence[Answer], after: Sequence[Answer]) -> tuple[float, float]:
    """95 % interval of the mean change of the score, prompt by prompt (normal approximation). A single prompt tells nothing."""
    changes = [new.score - old.score for old, new in zip(before, after, strict=True)]
    spread = _Z95 * stdev(changes) / math.sqrt(len(changes)) if len(changes) > 1 else math.inf
    return fmean(changes) - spread, fmean(changes) + spread
