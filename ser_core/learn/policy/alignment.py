"""The evaluation of a policy: it answers held-out prompts, and the reward model that it learns from scores the answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch

from ser_core.api.stage import PolicyEvaluation
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.generation import Generator, Prompt, until_end
from ser_core.learn.policy.policy import Policy
from ser_core.learn.policy.scorers import Scorer
from ser_core.learn.reward.batching import micro_batches
from ser_core.loop.deciding.significance import Z95


@dataclass(frozen=True, slots=True)
class Answer:
    """One sampled answer and its scores."""

    prompt: str
    text: str
    score: float
    """Raw score of the reward model that the policy learns from, in logits."""
    witness_score: float | None
    """Raw score of the witness, in logits; None: there is no witness."""
    kl: float
    """``log policy - log reference policy`` of the whole answer, in nats: one sample of the KL divergence."""
    tokens: int
    """Length, end token included."""
    ended: bool
    """Whether the answer has an end token."""


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
    """Sample one answer for each prompt, and score it.

    Args:
        policy: The policy that is evaluated.
        generator: Samples the answers with the policy's weights.
        prompts: The prompts, in a fixed order.
        rewards: The reward model that the policy learns from.
        witness: Another reward model, from which the policy does not learn; None: there is none.
        tokens: Length of the longest answer, in tokens.
        temperature: Temperature of the sampling.
        tokens_per_batch: Tokens of one batch of the probabilities' computation, padding included.
        seed: Seed of the sampling. The same seed and the same policy give the same answers.
    """
    torch.manual_seed(seed)
    found = generator.generate([prompt.tokens for prompt in prompts], tokens=tokens, temperature=temperature)
    cut = [until_end(answer, policy.end_tokens) for answer in found]
    questions, texts = [prompt.text for prompt in prompts], policy.texts([answer for answer, _ in cut])
    scores = list(rewards.scores(questions, texts))
    seconds: list[float | None] = [None] * len(prompts) if witness is None else list(witness.scores(questions, texts))
    kl = _divergences(policy, prompts, [answer for answer, _ in cut], temperature, tokens_per_batch)
    return [
        Answer(question, text.removeprefix(" "), float(score), None if second is None else float(second), divergence, len(answer), ended)
        for question, text, score, second, divergence, (answer, ended) in zip(questions, texts, scores, seconds, kl, cut, strict=True)
    ]


@torch.no_grad()
def _divergences(policy: Policy, prompts: Sequence[Prompt], answers: Sequence[list[int]], temperature: float, budget: int) -> list[float]:
    device = policy.precision.device
    found = [0.0] * len(prompts)
    lengths = [len(prompt.tokens) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    with policy.reference_at_hand():
        for members in micro_batches(lengths, policy.precision.batch_tokens(budget), rows=1):
            batch = sequences([prompts[row].tokens for row in members], [answers[row] for row in members], device)
            ratios = policy.log_probabilities(batch, temperature) - policy.reference_log_probabilities(batch, temperature)
            for row, divergence in zip(members, ratios.sum(-1).tolist(), strict=True):
                found[row] = divergence
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
        distinct=len({answer.text for answer in answers}) / len(answers),
    )


def change(before: Sequence[Answer], after: Sequence[Answer]) -> tuple[float, float] | tuple[None, None]:
    """95 % confidence interval of the mean change of the score; one prompt alone has none.

    The change is taken prompt by prompt. The interval is the normal approximation.
    """
    changes = [new.score - old.score for old, new in zip(before, after, strict=True)]
    if len(changes) < 2:
        return None, None
    spread = Z95 * stdev(changes) / math.sqrt(len(changes))
    return fmean(changes) - spread, fmean(changes) + spread
