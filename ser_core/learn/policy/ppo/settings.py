"""Settings of PPO. No setting depends on a model."""

from dataclasses import dataclass, field
from typing import Literal

from ser_core.learn.policy.ppo.guards import HackingLimits, Limits


@dataclass(frozen=True, slots=True)
class Settings:
    """How a policy is aligned.

    The defaults and formulas have these sources: "N+" is arXiv 2403.17031 (the details that made PPO reproduce), "PPO" is
    arXiv 1707.06347, "GAE" is arXiv 1506.02438 and "fine-tuning" is arXiv 1909.08593.
    """

    answers_per_step: int = 128
    """Answers of one PPO step, over all processes. N+ takes 512."""
    answers_per_prompt: int = 1
    """Answers to each prompt of a step."""
    answer_tokens: int = 128
    """Length of the longest answer, in tokens."""
    temperature: float = 0.7
    """Temperature of the sampling. Every log-probability is computed from logits divided by it (N+)."""
    score_mean: float | None = None
    """Subtracted from raw scores, in logits (N+); None: the mean score of the first step's answers, which the reference policy sampled."""
    score_clip: float = 5.0
    """Scores less ``score_mean`` are clipped to ± this, in logits (DeepSpeed-Chat 5, OpenRLHF 10)."""
    missing_end_penalty: float = 1.0
    """Subtracted from the score of an answer without an end token, in logits. See `arithmetic.penalised`."""
    kl_coefficient: float = 0.05
    """Weight of the KL penalty in the reward, in logits per nat (N+)."""
    kl_target: float | None = None
    """Wanted KL divergence of a whole answer from the reference policy, in nats; None: the weight stays (fine-tuning, section 2.2)."""
    kl_horizon: float = 10_000.0
    """Horizon of the controller that adapts the weight, in answers; more of them make it slower (fine-tuning)."""
    advantage: Literal["gae", "rloo"] = "gae"
    """How good an answer is: what a critic expects of each token (GAE), or the other answers to its prompt (arXiv 2402.14740, RLOO)."""
    discount: float = 1.0
    """Gamma of GAE (N+)."""
    advantage_decay: float = 0.95
    """Lambda of GAE (N+), also of the critic's returns: without a discount and with short answers, a second lambda helps little."""
    epochs: int = 4
    """Passes over the answers of a step (N+)."""
    minibatches: int = 1
    """Optimizer steps of an epoch (N+)."""
    tokens_per_batch: int = 8192
    """Tokens of a micro-batch, padding included. It changes memory and speed, not the result."""
    ratio_clip: float = 0.2
    """The ratio of the policy's probabilities is clipped to 1 ± this (PPO, Eq. 7)."""
    value_clip: float = 0.2
    """A new value is clipped to the old value ± this, in logits (N+)."""
    value_weight: float = 0.1
    """Weight of the value loss (N+)."""
    largest_log_ratio: float = 20.0
    """Logarithms of ratios are clamped to ± this, in nats, so that no ratio overflows."""
    largest_gradient_norm: float = 1.0
    """The gradient of the policy and that of the critic are each scaled down to at most this norm."""
    policy_rate: float = 1e-6
    """Learning rate of the policy (OpenRLHF 5e-7 to 1e-6; with an adapter it can be ten times as high)."""
    critic_rate: float = 9e-6
    """Learning rate of the critic (OpenRLHF)."""
    adam_epsilon: float = 1e-5
    """Epsilon of both Adam optimizers (N+)."""
    critic_warm_up: int = 0
    """Number of first PPO steps in which only the critic learns (arXiv 2503.01491 trains the critic before PPO)."""
    step_kl_limit: float | None = 0.1
    """A step's updates end when the KL divergence from the rollout's policy exceeds this, in nats per token; None: no limit."""
    ladder: Limits = field(default_factory=Limits)
    """How often optimizer steps that are not finite are skipped and rolled back before the run stops."""
    hacking: HackingLimits = field(default_factory=HackingLimits)
    """Limits beyond which the policy is said to game the reward model."""
    seed: int = 0
    """Seed of the order of the prompts, of the minibatches, and of the sampling in a run that is not resumed."""
