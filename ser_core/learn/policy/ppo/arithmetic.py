"""The formulas of PPO: pure functions on tensors of shape (rows, answer width). ``mask`` is True at real answer tokens."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from ser_core.learn.compute import ranks


def penalised(scores: torch.Tensor, finished: torch.Tensor, penalty: float) -> torch.Tensor:
    """Scores, shape (rows,); the penalty is subtracted where an answer has no end token.

    N+ sets these scores to -1. If real scores were below -1, that would reward answers that never end. A subtraction cannot do so.
    """
    return torch.where(finished, scores, scores - penalty)


def rewards(scores: torch.Tensor, divergence: torch.Tensor, mask: torch.Tensor, coefficient: float) -> torch.Tensor:
    """Reward of every token: the KL penalty ``-coefficient * divergence``, plus the answer's score at its last real token.

    Args:
        scores: Shape (rows,).
        divergence: ``log policy - log reference policy`` of the sampled token (the estimator k1 of the KL divergence), 0 at padding.
        mask: An answer without real tokens has no last token, so its score is left out.
        coefficient: Weight of the KL penalty.
    """
    places = torch.arange(mask.shape[1], device=mask.device)
    last = (places == mask.sum(-1, keepdim=True) - 1) & mask
    return torch.where(last, scores.unsqueeze(-1), 0.0) - coefficient * divergence


def generalised_advantages(reward: torch.Tensor, values: torch.Tensor, discount: float, decay: float) -> torch.Tensor:
    """Generalised advantage estimation (arXiv 1506.02438, Eq. 16).

    Rewards and values must be 0 at padding: the value after an answer's last token is then 0.
    """
    found = torch.zeros_like(reward)
    later = torch.zeros_like(reward[:, 0])
    after = torch.zeros_like(later)
    for place in reversed(range(reward.shape[1])):
        later = reward[:, place] + discount * after - values[:, place] + discount * decay * later
        found[:, place] = later
        after = values[:, place]
    return found


def leave_one_out(rewards: torch.Tensor, rows: NDArray[np.int64], answers: int, per_prompt: int) -> torch.Tensor:
    """Advantages of whole answers (RLOO, arXiv 2402.14740, Eq. 8): the reward less the mean reward of the other answers to the prompt.

    Args:
        rewards: Of this process's answers, KL penalty included, shape (rows,).
        rows: Their numbers among the answers of all processes; answers to one prompt follow each other.
        answers: How many there are in all processes.
        per_prompt: Answers to each prompt, at least two.
    """
    own = torch.from_numpy(rows).to(rewards.device)
    of_prompts = ranks.total(rewards.new_zeros(answers).index_put((own,), rewards)).view(-1, per_prompt)
    others = (of_prompts.sum(1, keepdim=True) - of_prompts) / (per_prompt - 1)
    return (of_prompts - others).flatten()[own]


def whitened(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Values shifted and scaled to mean 0 and variance 1 over the real tokens of all processes; 0 at padding."""
    mean, variance = moments(values, mask)
    return torch.where(mask, (values - mean) * torch.rsqrt(variance + 1e-8), 0.0)


def moments(values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over the real tokens of all processes."""
    count = ranks.total(mask.sum()).clamp(min=1)
    mean = ranks.total(torch.where(mask, values, 0.0).sum()) / count
    variance = ranks.total(torch.where(mask, (values - mean).square(), 0.0).sum()) / count
    return mean, variance


def log_ratio(new: torch.Tensor, old: torch.Tensor, largest: float) -> torch.Tensor:
    """``new - old``, two log-probabilities, clamped to ± ``largest``. Both are 0 at padding, so the ratio there is 1."""
    return (new - old).clamp(-largest, largest)


def ratio_sums(ratio_log: torch.Tensor, clip: float) -> torch.Tensor:
    """Two sums over the given real tokens, shape (2,): ``ratio - 1 - log ratio``, and the number of ratios outside the clip range."""
    ratio = ratio_log.double().exp()
    return torch.stack([(ratio - 1 - ratio_log).sum(), ((ratio - 1).abs() > clip).double().sum()])


def policy_loss(ratio_log: torch.Tensor, advantages: torch.Tensor, clip: float) -> torch.Tensor:
    """Clipped surrogate loss of every token (arXiv 1707.06347, Eq. 7), with the sign of a loss."""
    ratio = ratio_log.exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def value_loss(values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, clip: float) -> torch.Tensor:
    """Half of the clipped squared error of every token (arXiv 2403.17031)."""
    near = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (near - returns).square())


def adapted_coefficient(coefficient: float, kl: float, target: float, answers: int, horizon: float) -> float:
    """The next step's weight of the KL penalty: a proportional controller on its logarithm (arXiv 1909.08593, section 2.2).

    The article writes ``1 + x`` for ``exp(x)``, which is nearly the same where a step has few answers, and negative where it has very many.

    Args:
        coefficient: This step's weight.
        kl: This step's KL divergence of a whole answer from the reference policy, in nats.
        target: Wanted KL divergence, in nats.
        answers: Answers of this step.
        horizon: Answers in which the controller acts; more of them make it slower.
    """
    error = min(0.2, max(-0.2, kl / target - 1))
    return coefficient * math.exp(error * answers / horizon)
