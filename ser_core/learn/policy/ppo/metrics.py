"""What is known about each PPO step."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One PPO step, over all processes. NaN where the step was left out and there is no such number."""

    step: int
    """From 1."""
    reward: float
    """Mean over answers of all their token rewards: score and distance from the reference."""
    score: float
    """Mean raw score of the reward model, in logits."""
    heldout_score: float | None
    """Mean raw score, for the same answers, of a reward model that the policy does not learn from; None: there is none, or not a number."""
    kl: float
    """Mean over answers of ``log policy - log reference`` of the whole answer (k1), in nats."""
    kl_coefficient: float
    """Weight of the distance in this step's rewards."""
    entropy: float
    """Mean of ``-log policy`` of the sampled tokens, in nats: an unbiased estimate that needs no pass over the vocabulary."""
    answer_tokens: float
    """Mean length of answers, end token included."""
    ended: float
    """Share of answers with an end token."""
    policy_loss: float
    value_loss: float
    approximate_kl: float
    """Mean over tokens of ``ratio - 1 - log ratio`` in the last minibatch computed: distance from the rollout's policy, in nats."""
    clipped: float
    """Share of tokens whose ratio lay outside of the clip range, over all minibatches."""
    explained_variance: float
    """``1 - var(returns - values) / var(returns)`` of the critic before the step's updates."""
    policy_gradient_norm: float
    """Before clipping; mean over minibatches."""
    critic_gradient_norm: float
    updates: int
    """Optimizer steps taken."""
    skipped: int
    """Optimizer steps, or whole rollouts, that were left out because a number was not finite."""
    rolled_back: bool
    """Whether the last good weights were put back."""
    ended_early: bool
    """Whether the passes ended because of ``step_kl_limit``."""
    rate_factor: float
    """What the learning rates were multiplied by."""
    generate_seconds: float
    score_seconds: float
    """Both reward models, and the passes of policy, reference and critic before the updates."""
    train_seconds: float

    @property
    def seconds(self) -> float:
        """Seconds of the whole step."""
        return self.generate_seconds + self.score_seconds + self.train_seconds
