"""Settings of PPO. None of them depends on a model."""

from dataclasses import dataclass, field

from ser_core.learn.policy.ppo.guards import HackingLimits, Limits


@dataclass(frozen=True, slots=True)
class Settings:
    """How a policy is aligned.

    "N+" is arXiv 2403.17031 (the details that made PPO reproduce), "PPO" is arXiv 1707.06347, "GAE" is arXiv 1506.02438 and
    "fine-tuning" is arXiv 1909.08593.
    """

    rollouts_per_step: int = 128
    """Answers of one PPO step, over all processes. N+ takes 512."""
    answer_tokens: int = 128
    """Longest answer, in tokens."""
    temperature: float = 0.7
    """Of sampling; every log-probability is of logits divided by it (N+)."""
    score_mean: float | None = None
    """Subtracted from raw scores, in logits (N+); None: the mean over the first step's answers, which are the reference's own."""
    score_clip: float = 5.0
    """Centred scores are clipped to ± this, in logits (DeepSpeed-Chat 5, OpenRLHF 10)."""
    normalise_scores: bool = False
    """Divide centred scores by the running standard deviation of all scores seen; the mean is not moved (N+)."""
    missing_end_penalty: float = 1.0
    """Subtracted from the score of an answer without an end token, in logits. See `arithmetic.penalised`."""
    kl_coefficient: float = 0.05
    """Weight of the distance from the reference in the reward, in logits a nat (N+)."""
    kl_target: float | None = None
    """Wanted distance of a whole answer, in nats; None: the coefficient stays (fine-tuning, section 2.2)."""
    kl_horizon: float = 10_000.0
    """Answers in which the coefficient may change e-fold times the controller's largest error (fine-tuning)."""
    discount: float = 1.0
    """GAE's gamma (N+)."""
    advantage_decay: float = 0.95
    """GAE's lambda (N+). The critic learns returns of the same lambda: with no discount and short answers another one gains little."""
    epochs: int = 4
    """Passes over the rollouts of a step (N+)."""
    minibatches: int = 1
    """Optimizer steps of a pass (N+)."""
    tokens_per_batch: int = 8192
    """Tokens of a micro-batch, padding included. It changes memory and speed, not the result."""
    ratio_clip: float = 0.2
    """The policy's ratio is clipped to 1 ± this (PPO, Eq. 7)."""
    value_clip: float = 0.2
    """A new value is clipped to the old one ± this, in logits (N+)."""
    value_weight: float = 0.1
    """Weight of the value loss (N+)."""
    largest_log_ratio: float = 20.0
    """Log-ratios are clamped to ± this, in nats, so that no ratio overflows."""
    largest_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm, those of policy and critic apart."""
    policy_rate: float = 1e-6
    """Learning rate of the policy (OpenRLHF 5e-7 to 1e-6; adapters bear ten times as much)."""
    critic_rate: float = 9e-6
    """Learning rate of the critic (OpenRLHF)."""
    adam_epsilon: float = 1e-5
    """Epsilon of both Adam optimizers (N+)."""
    critic_warm_up: int = 0
    """First PPO steps in which only the critic learns (arXiv 2503.01491 pretrains it)."""
    step_kl_limit: float | None = 0.1
    """The passes end when the distance from the rollout's policy exceeds this, in nats a token; None: never."""
    ladder: Limits = field(default_factory=Limits)
    """When steps that are not finite lead to a roll-back, and when to the end."""
    hacking: HackingLimits = field(default_factory=HackingLimits)
    """What counts as gaming the reward model."""
    seed: int = 0
    """Fixes the order of the prompts and the minibatches, and the samples of a fresh start."""
